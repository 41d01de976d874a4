-- Reads the oldest entries of the outbox that are in no process' channel. Only one process at a time is the sweeper.
--
-- KEYS[1] live      string   the shard's `run_id:epoch`
-- KEYS[2] outbox    stream   claims that may not be in MySQL yet
-- KEYS[3] sweeper   string   the sweeper's process id
-- ARGV[1] expected value of `live`
-- ARGV[2] id of this process
-- ARGV[3] ms for which this process becomes the sweeper
-- ARGV[4] where to end, as XRANGE takes it: an id, '(' and an id, or '+'
-- ARGV[5] most claims to return; at least the most claims of one entry
--
-- Replies: {'entries', id of the last entry or '', entry, field, entry, field, ...}  {'not-mine'}  {'not-loaded'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
local sweeper = redis.call('GET', KEYS[3])
-- A longer TTL than ever set means that Redis' clock was set back. The other sweeper may be dead, and the key would stay
-- for as long as the step. Two sweepers at once are harmless.
if sweeper and sweeper ~= ARGV[2] and redis.call('PTTL', KEYS[3]) <= tonumber(ARGV[3]) then
  return {'not-mine'}
end
redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[3])

local last = redis.call('XREVRANGE', KEYS[2], '+', '-', 'COUNT', 1)[1]
-- Claims in an entry are separated by spaces.
local reply, room, from = {'entries', last and last[1] or ''}, tonumber(ARGV[5]), '-'
while true do
  local entries = redis.call('XRANGE', KEYS[2], from, ARGV[4], 'COUNT', 100)
  for _, entry in ipairs(entries) do
    local _, spaces = string.gsub(entry[2][2], ' ', ' ')
    room = room - spaces - 1
    if room < 0 then
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
