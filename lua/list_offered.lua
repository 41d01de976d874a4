-- A page of a saler's coupons, newest first.
--
-- KEYS[1] live    string       the shard's `run_id:epoch`
-- KEYS[2] saler   sorted set   the saler's coupon ids, in order of creation
-- ARGV[1] what `live` must be
-- ARGV[2] prefix of coupon keys   ARGV[3] prefix of holes keys, on this shard
-- ARGV[4] how many to skip        ARGV[5] how many to give
-- ARGV[6] the id that the page follows, or empty
--
-- Replies:
--   {'page', id, name, face value, description, scheduled, amount, claimed, holes, archived, id, ...}
--            with `archived` 1 for the tombstone of a coupon, which has no holes
--   {'not-loaded'}
local call = redis.call
if call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end

-- Takes the last amount and claims from a tombstone. Returns whether there is one.
local function take_final(key, coupon)
  local final = call('HMGET', key, 'final_amount', 'final_left')
  if final[1] and final[2] then
    coupon[5], coupon[6] = final[1], string.format('%d', final[1] - final[2])
    return true
  end
  return false
end

-- The ids are the scores, too.
local ids
if ARGV[6] == '' then
  ids = call('ZRANGE', KEYS[2], ARGV[4], ARGV[4] + ARGV[5] - 1, 'REV')
else
  ids = call('ZRANGE', KEYS[2], '(' .. ARGV[6], '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, ARGV[5])
end
local page = {'page'}
for _, id in ipairs(ids) do
  local key = ARGV[2] .. id
  local coupon = call('HMGET', key, 'name', 'face_value', 'description', 'scheduled', 'amount', 'claimed')
  local archived = coupon[1] and not coupon[5]
  -- A coupon that the shard lacks is left out.
  if coupon[1] and (not archived or take_final(key, coupon)) then
    page[#page + 1] = id
    for part = 1, 6 do
      page[#page + 1] = coupon[part]
    end
    page[#page + 1] = archived and 0 or call('LLEN', ARGV[3] .. id)
    page[#page + 1] = archived and 1 or 0
  end
end
return page
