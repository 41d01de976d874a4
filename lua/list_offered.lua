-- A page of a saler's coupons, newest first.
--
-- KEYS[1] live    string       the shard's `run_id:epoch`
-- KEYS[2] saler   sorted set   the saler's coupon ids, in order of creation
-- ARGV[1] what `live` must be
-- ARGV[2] prefix of coupon keys   ARGV[3] prefix of holes keys, on this shard
-- ARGV[4] how many to skip        ARGV[5] how many to give
--
-- Replies:
--   {'page', id, name, face value, description, scheduled, amount, claimed, holes, id, ...}
--   {'not-loaded'}
local call = redis.call
if call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end

local page = {'page'}
for _, id in ipairs(call('ZRANGE', KEYS[2], ARGV[4], ARGV[4] + ARGV[5] - 1, 'REV')) do
  local coupon = call('HMGET', ARGV[2] .. id, 'name', 'face_value', 'description', 'scheduled', 'amount', 'claimed')
  -- A coupon that the shard lacks is left out.
  if coupon[1] then
    page[#page + 1] = id
    for part = 1, 6 do
      page[#page + 1] = coupon[part]
    end
    page[#page + 1] = call('LLEN', ARGV[3] .. id)
  end
end
return page
