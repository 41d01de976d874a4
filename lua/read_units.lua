-- Reads coupons and the claims sold by an activity per coupon, all at the same moment.
--
-- KEYS[1] live             string   the shard's `run_id:epoch`
-- KEYS[2...] coupon        hash     three keys per coupon: the coupon,
--            holes         list     seqs up to `claimed` that no claim has,
--            activity      hash     claims sold by an activity of the coupon
-- ARGV[1] expected value of `live`
--
-- Replies: {'units', amount, claimed, scheduled, revision, activity revision, holes, sold, amount, ...}
--          with the last amount and claims for the tombstone of a coupon, which has no holes and no activities
--          with the amount '' for a coupon that the shard lacks
--          {'not-loaded'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
local units = {'units'}
for at = 2, #KEYS, 3 do
  local coupon = redis.call('HMGET', KEYS[at], 'amount', 'claimed', 'scheduled', 'revision', 'activity_revision')
  if not coupon[1] then
    local final = redis.call('HMGET', KEYS[at], 'final_amount', 'final_left')
    if final[1] and final[2] then
      coupon[1], coupon[2] = final[1], string.format('%d', final[1] - final[2])
    end
  end
  for part = 1, 5 do
    units[#units + 1] = coupon[part] or (part == 5 and '0' or '')
  end
  units[#units + 1] = redis.call('LLEN', KEYS[at + 1])
  units[#units + 1] = redis.call('HGET', KEYS[at + 2], 'sold') or '0'
end
return units
