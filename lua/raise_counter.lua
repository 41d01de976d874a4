-- Raises the counter of a process after MySQL has lost a batch of the process. Every instance compares the counters, so
-- every instance notices the loss.
--
-- KEYS[1] counters   hash   process -> number of the last batch that MySQL has committed, as far as Redis knows
-- ARGV[1] process
-- ARGV[2] number of the last batch of the process that MySQL had committed
--
-- Replies: {'raised'}
if tonumber(ARGV[2]) > tonumber(redis.call('HGET', KEYS[1], ARGV[1]) or 0) then
  redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
end
return {'raised'}
