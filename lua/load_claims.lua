-- Loads claims of a coupon from MySQL, in a rebuild or when the coupon comes back from the archive. Idempotent.
--
-- KEYS[1] live      string   `rebuild:<token>`, or the shard's `run_id:epoch`
-- KEYS[2] coupon    hash     the coupon
-- KEYS[3] holes     list     seqs up to `claimed` that no claim has
-- KEYS[4...] holder hash     the claims of a user; a key per claim
-- ARGV[1] expected value of `live`
-- ARGV[2] `loading:revision:token` of a coupon that comes back; '' in a rebuild
-- ARGV[3] highest seq of the claims and holes
-- ARGV[4] '1' to delete the list of holes first, else '0'
-- ARGV[5] number of holes
-- ARGV[6...] the holes in order, then a field and a value per holder
--
-- Replies: {'loaded'}  {'overtaken'} (another loading or a tombstone has the coupon)  {'not-loaded'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
if ARGV[2] ~= '' and redis.call('HGET', KEYS[2], 'archived') ~= ARGV[2] then
  return {'overtaken'}
end
if ARGV[4] == '1' then
  redis.call('DEL', KEYS[3])
end
local at = 6
for _ = 1, ARGV[5] do
  redis.call('RPUSH', KEYS[3], ARGV[at])
  at = at + 1
end
for holder = 4, #KEYS do
  redis.call('HSET', KEYS[holder], ARGV[at], ARGV[at + 1])
  at = at + 2
end
if tonumber(ARGV[3]) > tonumber(redis.call('HGET', KEYS[2], 'claimed') or 0) then
  redis.call('HSET', KEYS[2], 'claimed', ARGV[3])
end
return {'loaded'}
