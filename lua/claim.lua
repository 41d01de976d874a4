-- Grants a user one unit of a coupon, or says why not: all checks first, then the entry, the count and the hold.
--
-- KEYS[1] live      string   the shard's `run_id:epoch`
-- KEYS[2] coupon    hash     the coupon
-- KEYS[3] holder    hash     what the user holds: coupon id (and `:nth` from the second on) -> `seq:entry:activity`
-- KEYS[4] holes     list     seqs up to `claimed` that nobody has
-- KEYS[5] outbox    stream   claims that MySQL may not have yet
-- KEYS[6] activity  hash     what the activity has sold, and in which second how many; only with ARGV[9...]
--
-- ARGV[1] what `live` must be
-- ARGV[2] the epoch in it
-- ARGV[3] not after, ms of this server's clock: past it the caller has stopped waiting
-- ARGV[4] coupon id
-- ARGV[5] user id
-- ARGV[6] entries that the outbox may hold
-- ARGV[7] which of his claims the user means to hold after this; 0: one more than he holds
-- ARGV[8] the revision of the coupon's activities that the caller knows; 0: none
-- The activity that the caller found to decide; all of them, or none where it knows of none:
-- ARGV[9] activity id   ARGV[10] status: 0 normal, 1 disabled, 2 sold out   ARGV[11] start, s   ARGV[12] end, s
-- ARGV[13] '1' where the caller's draw was won, else '0'   ARGV[14] claims a second, 0: no limit
-- ARGV[15] claims in all, 0: no limit   ARGV[16] claims a user may hold of the coupon
--
-- Replies; only `claimed` has changed anything:
--   {'claimed', seq, entry, nth, activity id or 0}
--   {'already', `seq:entry:activity`, 1 while the entry is in the outbox, else 0, nth}
--   {'sold-out'}  {'not-on-sale'}  {'disabled'}  {'not-started'}  {'ended'}  {'try-again'}
--   {'stale'}        the coupon's activities have changed since the caller read them
--   {'missing'}      no such coupon here, though the caller knows its id: the shard has lost something
--   {'not-loaded'}   `live` is another
--   {'too-late'}     `not after` has passed
--   {'backlog'}      the outbox is full
-- A local name is cheaper than a look-up in a table for each of eight calls.
local call = redis.call
if call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
local time = call('TIME')
if time[1] * 1000 + time[2] / 1000 > tonumber(ARGV[3]) then
  return {'too-late'}
end
local coupon = call('HMGET', KEYS[2], 'amount', 'claimed', 'scheduled', 'activity_revision')
if not coupon[1] then
  return {'missing'}
end
local scheduled = coupon[3] == '1'
local activity = scheduled and ARGV[9]
local stale = scheduled and tonumber(coupon[4] or 0) > tonumber(ARGV[8])

-- The holder before everything else: whoever holds what he may is told so, sold out, ended or not. But by an old limit
-- nobody is told that he may hold no more.
local nth, field = 1, ARGV[4]
local held = call('HGET', KEYS[3], field)
if held then
  local wanted, limit = tonumber(ARGV[7]), activity and tonumber(ARGV[16]) or 1
  local following = held
  while following do
    held = following
    if nth == wanted then
      break
    end
    field = ARGV[4] .. ':' .. nth + 1
    following = call('HGET', KEYS[3], field)
    nth = following and nth + 1 or nth
  end
  if nth == wanted or (nth >= limit and not stale) then
    local entry = string.match(held, ':(.-):')
    local pending = call('XRANGE', KEYS[5], entry, entry)
    return {'already', held, #pending, nth}
  end
  nth = nth + 1
end

local sold, in_second
if scheduled then
  if stale then
    return {'stale'}
  end
  if not activity then
    return {'not-on-sale'}
  end
  if ARGV[10] ~= '0' then
    return {ARGV[10] == '1' and 'disabled' or 'sold-out'}
  end
  if tonumber(time[1]) < tonumber(ARGV[11]) then
    return {'not-started'}
  end
  if tonumber(time[1]) >= tonumber(ARGV[12]) then
    return {'ended'}
  end
  if ARGV[13] ~= '1' then
    return {'try-again'}
  end
  local counts = call('HMGET', KEYS[6], 'sold', 'second', 'in_second')
  in_second = counts[2] == time[1] and tonumber(counts[3]) or 0
  if ARGV[14] ~= '0' and in_second >= tonumber(ARGV[14]) then
    return {'try-again'}
  end
  sold = tonumber(counts[1] or 0)
  if ARGV[15] ~= '0' and sold >= tonumber(ARGV[15]) then
    return {'sold-out'}
  end
end

-- New seqs first, holes last: the list is looked at only once the numbers have run out. A seq is written out once: Lua's
-- and Redis' own ways from numbers to text are slow.
local seq = string.format('%.0f', coupon[2] + 1)
local hole = tonumber(seq) > tonumber(coupon[1])
if hole then
  seq = call('LINDEX', KEYS[4], 0)
  if not seq then
    return {'sold-out'}
  end
end
if call('XLEN', KEYS[5]) >= tonumber(ARGV[6]) then
  return {'backlog'}
end

-- XADD is the first write because it is the one that memory limits refuse: refused, nothing has happened.
local activity_id = activity or '0'
local claim = ARGV[4] .. ':' .. ARGV[5] .. ':' .. seq .. ':' .. nth .. ':' .. activity_id .. ':' .. ARGV[2]
local entry = call('XADD', KEYS[5], '*', 'c', claim)
if hole then
  call('LPOP', KEYS[4])
else
  call('HSET', KEYS[2], 'claimed', seq)
end
call('HSET', KEYS[3], field, seq .. ':' .. entry .. ':' .. activity_id)
if sold then
  call('HSET', KEYS[6], 'sold', sold + 1, 'second', time[1], 'in_second', in_second + 1)
end
return {'claimed', seq, entry, nth, activity_id}
