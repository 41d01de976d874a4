-- Publishes a coupon with the values of MySQL. Sets `claimed` only for a new coupon, and never changes the holes.
-- With an ARGV[13] it also ends the loading of a coupon that comes back from the archive.
--
-- KEYS[1] live     string       the shard's `run_id:epoch`, or `rebuild:<token>`
-- KEYS[2] coupon   hash         the coupon
-- KEYS[3] names    hash         `saler/name` -> coupon id
-- KEYS[4] saler    sorted set   the saler's coupon ids, in order of creation
-- KEYS[5...] activity hash      claims sold by an activity of the coupon, only with an ARGV[13]
--
-- ARGV[1] expected value of `live`
-- ARGV[2] deadline, ms of this server's clock; 0: none
-- ARGV[3] '0' if Redis must have the coupon, '1' if it may be new in Redis, without claims, '2' in a rebuild, which
--         loads the claims afterwards
-- ARGV[4] coupon id      ARGV[5] revision     ARGV[6] saler's name    ARGV[7] name
-- ARGV[8] amount         ARGV[9] face value   ARGV[10] description    ARGV[11] scheduled, '1' or '0'
-- ARGV[12] revision of the latest change of its activities
-- ARGV[13] `loading:revision:token` to end that loading, else ''
-- ARGV[14...] claims of each activity
--
-- Replies; only `set` has changed anything:
--   {'set'}
--   {'older', revision}          Redis has a higher revision already
--   {'below-claimed', claimed}   the amount is below the highest seq granted
--   {'missing'}                  Redis lacks the coupon, and ARGV[3] is '0'
--   {'archived'}                 Redis has a tombstone, or another loading is under way
--   {'not-loaded'}  {'too-late'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
local not_after = tonumber(ARGV[2])
if not_after > 0 then
  local now = redis.call('TIME')
  if now[1] * 1000 + now[2] / 1000 > not_after then
    return {'too-late'}
  end
end

local here = redis.call('HMGET', KEYS[2], 'revision', 'claimed', 'archived')
local archived = here[3]
if archived and ARGV[3] == '2' then
  redis.call('HDEL', KEYS[2], 'claimed')
elseif here[1] then
  if tonumber(here[1]) > tonumber(ARGV[5]) then
    return {'older', tonumber(here[1])}
  end
  local is_closed = archived and string.sub(archived, 1, 8) == 'closing:'
  if archived and not is_closed and archived ~= ARGV[13] then
    return {'archived'}
  end
  if tonumber(ARGV[8]) < tonumber(here[2] or 0) then
    return {'below-claimed', tonumber(here[2])}
  end
elseif ARGV[3] == '0' then
  return {'missing'}
end

if archived and archived == ARGV[13] then
  -- The number sold in the current second is unknown, so an activity with a quota sells nothing more in this second.
  local second = redis.call('TIME')[1]
  for at = 5, #KEYS do
    redis.call('HSET', KEYS[at], 'sold', ARGV[at + 9], 'second', second, 'in_second', 4294967295)
  end
end
redis.call('HDEL', KEYS[2], 'archived', 'final_amount', 'final_left')
redis.call('HSET', KEYS[2],
  'revision', ARGV[5], 'saler', ARGV[6], 'name', ARGV[7], 'amount', ARGV[8], 'face_value', ARGV[9],
  'description', ARGV[10], 'scheduled', ARGV[11], 'activity_revision', ARGV[12])
redis.call('HSETNX', KEYS[2], 'claimed', 0)
redis.call('HSET', KEYS[3], ARGV[6] .. '/' .. ARGV[7], ARGV[4])
redis.call('ZADD', KEYS[4], ARGV[4], ARGV[4])
return {'set'}
