-- Marks an archived coupon as coming back. Its claims are read from MySQL afterwards, and then loaded.
--
-- KEYS[1] live     string   the shard's `run_id:epoch`
-- KEYS[2] coupon   hash     the coupon
-- ARGV[1] expected value of `live`
-- ARGV[2] deadline, ms of this server's clock
-- ARGV[3] revision
-- ARGV[4] `loading:revision:token`, with a token of this loading. It ends every earlier loading.
--
-- Replies; only `loading` has changed anything:
--   {'loading'}            load the claims
--   {'on-sale'}            Redis has the claims of the coupon: publish it
--   {'older', revision}    Redis has a higher revision already
--   {'missing'}  {'not-loaded'}  {'too-late'}
local call = redis.call
if call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
local now = call('TIME')
if now[1] * 1000 + now[2] / 1000 > tonumber(ARGV[2]) then
  return {'too-late'}
end
local here = call('HMGET', KEYS[2], 'revision', 'archived')
if not here[1] then
  return {'missing'}
end
if tonumber(here[1]) > tonumber(ARGV[3]) then
  return {'older', tonumber(here[1])}
end
-- A closed coupon still has its claims in Redis, also those that MySQL lacks.
if not here[2] or string.sub(here[2], 1, 8) == 'closing:' then
  return {'on-sale'}
end
call('HSET', KEYS[2], 'revision', ARGV[3], 'archived', ARGV[4])
return {'loading'}
