-- What coupons are at one moment, and what an activity of each has sold.
--
-- KEYS[1] live             string   the shard's `run_id:epoch`
-- KEYS[2...] coupon        hash     three keys each: the coupon,
--            holes         list     its seqs that nobody has,
--            activity      hash     what an activity of it has sold
-- ARGV[1] what `live` must be
--
-- Replies: {'units', amount, claimed, scheduled, revision, activity revision, holes, sold, amount, ...}, where amount is ''
--          for a coupon that is not here
--          {'not-loaded'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
local units = {'units'}
for at = 2, #KEYS, 3 do
  local coupon = redis.call('HMGET', KEYS[at], 'amount', 'claimed', 'scheduled', 'revision', 'activity_revision')
  for part = 1, 5 do
    units[#units + 1] = coupon[part] or (part == 5 and '0' or '')
  end
  units[#units + 1] = redis.call('LLEN', KEYS[at + 1])
  units[#units + 1] = redis.call('HGET', KEYS[at + 2], 'sold') or '0'
end
return units
