-- Grants users a unit of a coupon each, or says why not. Attempts that leave an instance together come in one call and are
-- made one after the other. Each: all checks first, then the entry and the hold; the counts once, in the end.
--
-- KEYS[1] live      string   the shard's `run_id:epoch`
-- KEYS[2] outbox    stream   claims that MySQL may not have yet
-- KEYS[3...] four of each attempt:
--         coupon    hash     the coupon
--         holder    hash     what the user holds: coupon id (and `:nth` from the second on) -> `seq:entry:activity`
--         holes     list     seqs up to `claimed` that nobody has
--         activity  hash     what the activity has sold, and in which second how many; only with an activity below
--
-- ARGV[1] what `live` must be
-- ARGV[2] the epoch in it
-- ARGV[3] entries that the outbox may hold
-- ARGV[4...] six of each attempt:
--         not after, ms of this server's clock: past it the caller has stopped waiting
--         coupon id
--         user id
--         which of his claims the user means to hold after this; 0: one more than he holds
--         the revision of the coupon's activities that the caller knows; 0: none
--         the activity that the caller found to decide; 0: none
-- and seven more with an activity:
--         status: 0 normal, 1 disabled, 2 sold out
--         start, s
--         end, s
--         '1' where the caller's draw was won, else '0'
--         claims a second, 0: no limit
--         claims in all, 0: no limit
--         claims a user may hold of the coupon
--
-- Replies: one an attempt, in their order; only `claimed` has changed anything:
--   {'claimed', seq, entry, nth, activity id or 0}
--   {'already', `seq:entry:activity`, 1 while the entry is in the outbox, else 0, nth}
--   {'sold-out'}  {'not-on-sale'}  {'disabled'}  {'not-started'}  {'ended'}  {'try-again'}
--   {'stale'}        the coupon's activities have changed since the caller read them
--   {'missing'}      no such coupon here, though the caller knows its id: the shard has lost something
--   {'not-loaded'}   `live` is another
--   {'too-late'}     `not after` has passed
--   {'backlog'}      the outbox is full
--   an error         of this attempt alone; it has changed nothing where it is `OOM`

-- A local name is cheaper than a look-up in a table for each call.
local call = redis.call
local replies, attempts = {}, (#KEYS - 2) / 4
if call('GET', KEYS[1]) ~= ARGV[1] then
  for at = 1, attempts do
    replies[at] = {'not-loaded'}
  end
  return replies
end
local time = call('TIME')
local second, now = tonumber(time[1]), time[1] * 1000 + time[2] / 1000
local room

-- What this call has read, as it has become since. Nobody else changes anything meanwhile.
local coupons, activities = {}, {}

local function coupon_at(key)
  local coupon = coupons[key]
  if not coupon then
    local facts = call('HMGET', key, 'amount', 'claimed', 'scheduled', 'activity_revision')
    if not facts[1] then
      return nil
    end
    coupon = {
      amount = tonumber(facts[1]), claimed = tonumber(facts[2]),
      scheduled = facts[3] == '1', revision = tonumber(facts[4] or 0),
    }
    coupons[key] = coupon
  end
  return coupon
end

local function activity_at(key)
  local activity = activities[key]
  if not activity then
    local counts = call('HMGET', key, 'sold', 'second', 'in_second')
    local of = tonumber(counts[2] or 0)
    activity = {
      sold = tonumber(counts[1] or 0),
      second = math.max(of, second), in_second = of >= second and tonumber(counts[3]) or 0,
    }
    activities[key] = activity
  end
  return activity
end

local function already(held, nth)
  local entry = string.match(held, ':(.-):')
  return {'already', held, #call('XRANGE', KEYS[2], entry, entry), nth}
end

local function attempt(key, arg)
  if now > tonumber(ARGV[arg]) then
    return {'too-late'}
  end
  local coupon = coupon_at(KEYS[key])
  if not coupon then
    return {'missing'}
  end
  local id, wanted = ARGV[arg + 1], tonumber(ARGV[arg + 3])
  local activity = coupon.scheduled and ARGV[arg + 5] ~= '0' and ARGV[arg + 5]
  local stale = coupon.scheduled and coupon.revision > tonumber(ARGV[arg + 4])

  -- The holder before everything else: whoever holds what he may is told so, sold out, ended or not. First the one that he
  -- means, by itself: a loss may have taken an earlier one of which nobody had been told.
  local holder = KEYS[key + 1]
  local meant = wanted > 0 and call('HGET', holder, wanted == 1 and id or id .. ':' .. wanted)
  if meant then
    return already(meant, wanted)
  end
  -- The first that he does not hold, and the one before it. By an old limit nobody is told that he may hold no more.
  local nth, field, held = 1, id, nil
  local following = wanted ~= 1 and call('HGET', holder, field)
  while following do
    held, nth = following, nth + 1
    field = id .. ':' .. nth
    following = call('HGET', holder, field)
  end
  if held and not stale and nth > (activity and tonumber(ARGV[arg + 12]) or 1) then
    return already(held, nth - 1)
  end

  local counts
  if coupon.scheduled then
    if stale then
      return {'stale'}
    end
    if not activity then
      return {'not-on-sale'}
    end
    local status = ARGV[arg + 6]
    if status ~= '0' then
      return {status == '1' and 'disabled' or 'sold-out'}
    end
    if second < tonumber(ARGV[arg + 7]) then
      return {'not-started'}
    end
    if second >= tonumber(ARGV[arg + 8]) then
      return {'ended'}
    end
    if ARGV[arg + 9] ~= '1' then
      return {'try-again'}
    end
    counts = activity_at(KEYS[key + 3])
    if ARGV[arg + 10] ~= '0' and counts.in_second >= tonumber(ARGV[arg + 10]) then
      return {'try-again'}
    end
    if ARGV[arg + 11] ~= '0' and counts.sold >= tonumber(ARGV[arg + 11]) then
      return {'sold-out'}
    end
  end

  -- New seqs first, holes last: the list is looked at only once the numbers have run out. A seq is written out once: Lua's
  -- and Redis' own ways from numbers to text are slow.
  local seq = string.format('%.0f', coupon.claimed + 1)
  local hole = coupon.claimed + 1 > coupon.amount
  if hole then
    seq = call('LINDEX', KEYS[key + 2], 0)
    if not seq then
      return {'sold-out'}
    end
  end
  room = room or tonumber(ARGV[3]) - call('XLEN', KEYS[2])
  if room <= 0 then
    return {'backlog'}
  end

  -- XADD is the first write because it is the one that memory limits refuse: refused, nothing has happened.
  local activity_id = activity or '0'
  local claim = id .. ':' .. ARGV[arg + 2] .. ':' .. seq .. ':' .. nth .. ':' .. activity_id .. ':' .. ARGV[2]
  local entry = call('XADD', KEYS[2], '*', 'c', claim)
  room = room - 1
  if hole then
    call('LPOP', KEYS[key + 2])
  else
    coupon.claimed, coupon.seq = coupon.claimed + 1, seq
  end
  if counts then
    -- Counted in the second that its entry names: the clock has gone on since it was read.
    local of = math.floor(tonumber(string.match(entry, '^%d+')) / 1000)
    if of > counts.second then
      counts.second, counts.in_second = of, 0
    end
    counts.sold, counts.in_second, counts.changed = counts.sold + 1, counts.in_second + 1, true
  end
  call('HSET', holder, field, seq .. ':' .. entry .. ':' .. activity_id)
  return {'claimed', seq, entry, nth, activity_id}
end

-- What breaks one attempt (a key of another type, memory that has run out) must not keep the others' counts from being
-- written.
local key, arg = 3, 4
for at = 1, attempts do
  local done, reply = pcall(attempt, key, arg)
  replies[at] = done and reply or {err = type(reply) == 'table' and reply.err or tostring(reply)}
  key, arg = key + 4, arg + (ARGV[arg + 5] == '0' and 6 or 13)
end
for name, coupon in pairs(coupons) do
  if coupon.seq then
    call('HSET', name, 'claimed', coupon.seq)
  end
end
for name, counts in pairs(activities) do
  if counts.changed then
    call('HSET', name, 'sold', counts.sold, 'second', counts.second, 'in_second', counts.in_second)
  end
end
return replies
