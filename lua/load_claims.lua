-- Loads claims of one coupon that MySQL has, during a rebuild. Repeating it changes nothing.
--
-- KEYS[1] live      string   `rebuild:<token>`
-- KEYS[2] coupon    hash     the coupon
-- KEYS[3] holes     list     seqs up to `claimed` that nobody has
-- KEYS[4...] holder hash     one a claim
-- ARGV[1] what `live` must be
-- ARGV[2] the highest seq among these claims and holes
-- ARGV[3] '1' where the list of holes begins anew, else '0'
-- ARGV[4] how many holes follow
-- ARGV[5...] the holes, in order; then a field and a value for each holder
--
-- Replies: {'loaded'}  {'not-loaded'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
if ARGV[3] == '1' then
  redis.call('DEL', KEYS[3])
end
local at = 5
for _ = 1, ARGV[4] do
  redis.call('RPUSH', KEYS[3], ARGV[at])
  at = at + 1
end
for holder = 4, #KEYS do
  redis.call('HSET', KEYS[holder], ARGV[at], ARGV[at + 1])
  at = at + 2
end
if tonumber(ARGV[2]) > tonumber(redis.call('HGET', KEYS[2], 'claimed') or 0) then
  redis.call('HSET', KEYS[2], 'claimed', ARGV[2])
end
return {'loaded'}
