-- Grants a user one unit of a coupon, or says why not: all checks first, then the entry, the count and the hold.
--
-- KEYS[1] live     string   the shard's `run_id:epoch`
-- KEYS[2] coupon   hash     the coupon
-- KEYS[3] holder   hash     what the user holds: coupon id -> `seq:entry:activity`
-- KEYS[4] holes    list     seqs up to `claimed` that nobody has
-- KEYS[5] outbox   stream   claims that MySQL may not have yet
--
-- ARGV[1] what `live` must be
-- ARGV[2] the epoch in it
-- ARGV[3] not after, ms of this server's clock: past it the caller has stopped waiting
-- ARGV[4] coupon id
-- ARGV[5] user id
-- ARGV[6] entries that the outbox may hold
--
-- Replies; only `claimed` has changed anything:
--   {'claimed', seq, entry}
--   {'already', `seq:entry:activity`, 1 while the entry is in the outbox, else 0}
--   {'sold-out'}  {'not-on-sale'}
--   {'missing'}      no such coupon here, though the caller knows its id: the shard has lost something
--   {'not-loaded'}   `live` is another
--   {'too-late'}     `not after` has passed
--   {'backlog'}      the outbox is full
-- A local name is cheaper than a look-up in a table for each of eight calls.
local call = redis.call
if call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
local now = call('TIME')
if now[1] * 1000 + now[2] / 1000 > tonumber(ARGV[3]) then
  return {'too-late'}
end

-- The holder before everything else: whoever has it is told so, sold out or not.
local held = call('HGET', KEYS[3], ARGV[4])
if held then
  local entry = string.match(held, ':(.-):')
  local pending = call('XRANGE', KEYS[5], entry, entry)
  return {'already', held, #pending}
end

local coupon = call('HMGET', KEYS[2], 'amount', 'claimed', 'scheduled')
if not coupon[1] then
  return {'missing'}
end
if coupon[3] == '1' then
  return {'not-on-sale'}
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
local claim = ARGV[4] .. ':' .. ARGV[5] .. ':' .. seq .. ':1:0:' .. ARGV[2]
local entry = call('XADD', KEYS[5], '*', 'c', claim)
if hole then
  call('LPOP', KEYS[4])
else
  call('HSET', KEYS[2], 'claimed', seq)
end
call('HSET', KEYS[3], ARGV[4], seq .. ':' .. entry .. ':0')
return {'claimed', seq, entry}
