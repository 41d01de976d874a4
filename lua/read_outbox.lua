-- Reads the oldest entries of the outbox that are in no process' channel. Only one process at a time is the sweeper.
--
-- KEYS[1] live      string   the shard's `run_id:epoch`
-- KEYS[2] outbox    stream   claims that may not be in MySQL yet
-- KEYS[3] sweeper   string   the sweeper's process id
-- ARGV[1] expected value of `live`
-- ARGV[2] id of this process
-- ARGV[3] ms for which this process becomes the sweeper
-- ARGV[4] least age of an entry in ms; 0: every entry, including ids in the future after the clock was set back
-- ARGV[5] lowest entry id in any channel, or '+'
-- ARGV[6] most claims to return; at least the most claims of one entry
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

-- Claims in an entry are separated by spaces.
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
