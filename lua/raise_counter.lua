-- Raises the counter of a process that has found its row in MySQL behind it, so that every process notices.
--
-- KEYS[1] counters   hash   process -> number of its last batch that MySQL has committed, as far as Redis knows
-- ARGV[1] process   ARGV[2] number of its last committed batch
--
-- Replies: {'raised'}
if tonumber(ARGV[2]) > tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
return {'raised'}
