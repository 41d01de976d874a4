-- Deletes claims and activities of an archived coupon. Idempotent.
--
-- KEYS[1] live     string   the shard's `run_id:epoch`
-- KEYS[2] coupon   hash     the coupon
-- KEYS[3...] holder hash    the claims of a user, a key per claim; or an activity of the coupon
-- ARGV[1] expected value of `live`
-- ARGV[2] the revision of the tombstone
-- ARGV[3...] a field per holder, '' for an activity
--
-- Replies: {'deleted'}  {'overtaken'} (the coupon is not archived at that revision any more)  {'not-loaded'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
if redis.call('HGET', KEYS[2], 'archived') ~= ARGV[2] then
  return {'overtaken'}
end
for at = 3, #KEYS do
  if ARGV[at] == '' then
    redis.call('DEL', KEYS[at])
  else
    redis.call('HDEL', KEYS[at], ARGV[at])
  end
end
return {'deleted'}
