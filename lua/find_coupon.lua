-- Finds the id of a coupon by its name.
--
-- KEYS[1] live     string   the shard's `run_id:epoch`
-- KEYS[2] names    hash     `saler/name` -> coupon id
-- ARGV[1] expected value of `live`
-- ARGV[2] `saler/name`
--
-- Replies: {'found', coupon id}  {'none'}  {'not-loaded'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
local id = redis.call('HGET', KEYS[2], ARGV[2])
if not id then
  return {'none'}
end
return {'found', id}
