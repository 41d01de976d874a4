-- Writes the tombstone of an archived coupon: its hash without `amount` and `claimed`. Claims of the coupon are answered
-- from MySQL from then on, so MySQL must have all of them. A coupon with claims in the outbox is closed first: it loses
-- only its `amount`, so it grants no claim, and its claims reach MySQL.
--
-- KEYS[1] live         string       the shard's `run_id:epoch`, or `rebuild:<token>`
-- KEYS[2] coupon       hash         the coupon
-- KEYS[3] names        hash         `saler/name` -> coupon id
-- KEYS[4] saler        sorted set   the saler's coupon ids, in order of creation
-- KEYS[5] holes        list         seqs up to `claimed` that no claim has
-- KEYS[6] archivings   string       how often a coupon was archived in this loading
--
-- ARGV[1] expected value of `live`
-- ARGV[2] deadline, ms of this server's clock; 0: none
-- ARGV[3] '0' if Redis must have the coupon, '1' if it may be new in Redis, '2' in a rebuild
-- ARGV[4] coupon id      ARGV[5] revision     ARGV[6] saler's name    ARGV[7] name
-- ARGV[8] final amount   ARGV[9] face value   ARGV[10] description    ARGV[11] scheduled, '1' or '0'
-- ARGV[12] revision of the latest change of its activities
-- ARGV[13] final unclaimed units
-- ARGV[14] claims that MySQL has. A rebuild has stored all claims, so it compares nothing.
--
-- Replies; only `set` and `unstored` have changed anything:
--   {'set', previous}      with the revision of the tombstone that was here, '' for none
--   {'unstored'}           claims wait in the outbox, and the coupon is closed
--   {'older', revision}    Redis has a higher revision already
--   {'missing'}            Redis lacks the coupon, and ARGV[3] is '0'
--   {'not-loaded'}  {'too-late'}
local call = redis.call
if call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
local not_after = tonumber(ARGV[2])
if not_after > 0 then
  local now = call('TIME')
  if now[1] * 1000 + now[2] / 1000 > not_after then
    return {'too-late'}
  end
end

local here = call('HMGET', KEYS[2], 'revision', 'amount', 'claimed', 'archived')
if not here[1] and ARGV[3] == '0' then
  return {'missing'}
end
if here[1] and ARGV[3] ~= '2' then
  if tonumber(here[1]) > tonumber(ARGV[5]) then
    return {'older', tonumber(here[1])}
  end
  local is_closed = here[4] and string.sub(here[4], 1, 8) == 'closing:'
  -- MySQL has the claims of a coupon with a tombstone, and of one that comes back.
  if (here[2] or is_closed) and tonumber(here[3]) - call('LLEN', KEYS[5]) ~= tonumber(ARGV[14]) then
    call('HDEL', KEYS[2], 'amount')
    call('HSET', KEYS[2], 'revision', ARGV[5], 'archived', 'closing:' .. ARGV[5], 'final_amount', ARGV[8],
      'final_left', ARGV[13])
    return {'unstored'}
  end
end

local previous = tonumber(here[4]) and here[4] or ''
if previous == '' then
  call('INCR', KEYS[6])
end
call('UNLINK', KEYS[5])
call('HDEL', KEYS[2], 'amount', 'claimed')
call('HSET', KEYS[2],
  'revision', ARGV[5], 'saler', ARGV[6], 'name', ARGV[7], 'face_value', ARGV[9], 'description', ARGV[10],
  'scheduled', ARGV[11], 'activity_revision', ARGV[12], 'archived', ARGV[5], 'final_amount', ARGV[8],
  'final_left', ARGV[13])
call('HSET', KEYS[3], ARGV[6] .. '/' .. ARGV[7], ARGV[4])
call('ZADD', KEYS[4], ARGV[4], ARGV[4])
return {'set', previous}
