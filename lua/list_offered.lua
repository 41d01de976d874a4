-- A page of a saler's coupons, newest first.
--
-- KEYS[1] live    string       the shard's `run_id:epoch`
-- KEYS[2] saler   sorted set   the saler's coupon ids, in order of creation
-- ARGV[1] what `live` must be
-- ARGV[2] how many to skip     ARGV[3] how many to give
-- ARGV[4] prefix of coupon keys   ARGV[5] prefix of holes keys, on this shard
--
-- Replies: {'page', id, name, face value, description, scheduled, amount, claimed, holes, id, ...}  {'not-loaded'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
local page = {'page'}
for _, id in ipairs(redis.call('ZRANGE', KEYS[2], ARGV[2], ARGV[2] + ARGV[3] - 1, 'REV')) do
  local coupon = redis.call('HMGET', ARGV[4] .. id, 'name', 'face_value', 'description', 'scheduled', 'amount', 'claimed')
  page[#page + 1] = id
  for part = 1, 6 do
    page[#page + 1] = coupon[part]
  end
  page[#page + 1] = redis.call('LLEN', ARGV[5] .. id)
end
return page
