-- The head of the outbox: claims that no channel is going to bring. One process at a time gets an answer.
--
-- KEYS[1] live      string   the shard's `run_id:epoch`
-- KEYS[2] outbox    stream   claims that MySQL may not have yet
-- KEYS[3] sweeper   string   the process that sweeps
-- ARGV[1] what `live` must be
-- ARGV[2] this process       ARGV[3] ms for which it then is the sweeper
-- ARGV[4] ms that an entry must be old; 0: every entry, also one that a clock since set back has dated later than now
-- ARGV[5] the lowest entry that is in some channel, or '+'
-- ARGV[6] how many claims to give at most, at least what one entry may hold
--
-- Replies: {'entries', entry, field, entry, field, ...}  {'not-mine'}  {'not-loaded'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
local sweeper = redis.call('GET', KEYS[3])
if sweeper and sweeper ~= ARGV[2] then
  return {'not-mine'}
end
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])

local old = '+'
if ARGV[4] ~= '0' then
  local now = redis.call('TIME')
  old = string.format('%.0f', now[1] * 1000 + math.floor(now[2] / 1000) - ARGV[4])
end
local below_ms, below_counter = string.match(ARGV[5], '(%d+)-(%d+)')
local function is_below(id)
  local ms, counter = string.match(id, '(%d+)-(%d+)')
  ms, counter = tonumber(ms), tonumber(counter)
  return not below_ms or ms < tonumber(below_ms) or (ms == tonumber(below_ms) and counter < tonumber(below_counter))
end

-- An entry's claims have spaces between them.
local reply, room, from = {'entries'}, tonumber(ARGV[6]), '-'
while true do
  local entries = redis.call('XRANGE', KEYS[2], from, old, 'COUNT', 100)
  for _, entry in ipairs(entries) do
    local _, spaces = string.gsub(entry[2][2], ' ', ' ')
    room = room - spaces - 1
    if room < 0 or not is_below(entry[1]) then
      return reply
    end
    reply[#reply + 1] = entry[1]
    reply[#reply + 1] = entry[2][2]
  end
  if #entries < 100 then
    return reply
  end
  from = '(' .. entries[100][1]
end
