-- Compares and sets the key `live`: takes the shard for a rebuild, renews the rebuild, or declares the shard loaded. Takes
-- a Redis that has no owner.
--
-- KEYS[1] live       string   `run_id:epoch`, or `rebuild:<token>`
-- KEYS[2] origin     string   the loading in `live` before unfinished rebuilds; until one is finished, only rebuilds
--                             have written data after that loading
-- KEYS[3] counters   hash   process -> number of its last committed batch; `epoch` -> the epoch of these numbers
-- KEYS[4] owner      string   the id of the installation that the data belongs to
-- ARGV[1] expected value; empty: the key must not exist
-- ARGV[2] new value
-- ARGV[3] ms after which the key expires; 0: never, the shard is loaded
-- ARGV[4] id of the installation
-- ARGV[5...] fields and values of `counters` for a loaded shard
--
-- Replies: {'taken', the value of `origin`; empty: none}  {'other', the value found}  {'foreign', the owner}
local owner = redis.call('GET', KEYS[4])
if owner and owner ~= ARGV[4] then
  return {'foreign', owner}
end
local held = redis.call('GET', KEYS[1]) or ''
if held ~= ARGV[1] then
  return {'other', held}
end
if ARGV[1] == ARGV[2] and held ~= '' then
  -- To renew or to let go, change the expiry only. A memory limit refuses SET but not PEXPIRE, and a rebuild that fails
  -- by that limit must not hold the shard until it expires.
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
elseif ARGV[3] == '0' then
  redis.call('SET', KEYS[1], ARGV[2])
  redis.call('DEL', KEYS[2], KEYS[3])
  for at = 5, #ARGV, 2 do
    redis.call('HSET', KEYS[3], ARGV[at], ARGV[at + 1])
  end
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  if held ~= '' then
    redis.call('SET', KEYS[2], held)
  end
end
if not owner and ARGV[1] ~= ARGV[2] then
  redis.call('SET', KEYS[4], ARGV[4])
end
return {'taken', redis.call('GET', KEYS[2]) or ''}
