-- Grants users a unit of a coupon each, or says why not. Attempts that leave an instance together come in one call and are
-- decided one after the other: each by checks alone. Then what was granted is written: one entry for all of it, the holds, the
-- counts.
--
-- KEYS[1] live      string   the shard's `run_id:epoch`
-- KEYS[2] outbox    stream   claims that MySQL may not have yet
-- KEYS[3] waiting   string   how many claims they are
-- KEYS[4...] two or three of each question:
--         coupon    hash     the coupon
--         holes     list     seqs up to `claimed` that nobody has
--         activity  hash     what the activity has sold, and in which second how many; only with an activity below
-- and then one of each attempt:
--         holder    hash     what the user holds: coupon id (and `:nth` from the second on) -> `seq:entry:activity`
--
-- ARGV[1] what `live` must be
-- ARGV[2] the epoch in it
-- ARGV[3] claims that the outbox may hold
-- ARGV[4] not after, ms of this server's clock: past it the callers have stopped waiting
-- ARGV[5] how many questions follow: what is asked for, and what the callers know of it
-- ARGV[6] which of them each attempt asks: a letter each, 'A' for the first
-- ARGV[7...] four of each question:
--         coupon id
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
-- and then one of each attempt:
--         user id
--
-- Replies: one text an attempt, in their order; only `claimed` has changed anything:
--   claimed:seq:entry:activity:nth:n   the entry holds n claims
--   already:seq:entry:activity:nth:n   n is 1 while the entry is in the outbox, else 0
--   seq:entry:activity                 the same, of the user's first claim, whose entry is gone: the field as it is
--   sold-out  not-on-sale  disabled  not-started  ended  try-again
--   stale        the coupon's activities have changed since the caller read them
--   missing      no such coupon here, though the caller knows its id: the shard has lost something
--   not-loaded   `live` is another
--   too-late     `not after` has passed
--   backlog      the outbox is full
--   an error     of this attempt; it has changed nothing where it is `OOM`
--
-- Each argument, and each element of a reply, costs Redis a part of a microsecond; and numbers are slow to turn into text: what
-- comes as text stays text.

-- A local name is cheaper than a look-up in a table for each call.
local call, format, byte = redis.call, string.format, string.byte

-- Where each question's keys and arguments begin, and the attempts'.
local key_of, arg_of, key, arg = {}, {}, 4, 7
for at = 1, tonumber(ARGV[5]) do
  key_of[at], arg_of[at] = key, arg
  if ARGV[arg + 3] == '0' then
    key, arg = key + 2, arg + 4
  else
    key, arg = key + 3, arg + 11
  end
end
local attempts, replies = #KEYS - key + 1, {}

local time = call('TIME')
local second, now = tonumber(time[1]), time[1] * 1000 + time[2] / 1000
local refusal = call('GET', KEYS[1]) ~= ARGV[1] and 'not-loaded' or now > tonumber(ARGV[4]) and 'too-late'
if refusal then
  for at = 1, attempts do
    replies[at] = refusal
  end
  return replies
end

-- What has been read, as it is after what was granted; nobody else changes anything meanwhile. By coupon's key: its amount, its
-- claims, the revision of its activities where it is scheduled, whether nobody can hold two of it, and how many of its holes
-- were granted. Then what the outbox has room for, in claims, and the entries that it has.
local amounts, claimed, revisions, singles, holes, activities, room, entries
-- How many were granted and are not written yet, and what. By holder's key: that he was granted one. By coupon's key: its
-- claims, as text, and the list of holes that some are from.
local granted = 0
local claims, whose, holders, fields, seqs, nths, activity_ids, granted_to, counts, lists

local function forget_read()
  amounts, claimed, revisions, singles, holes, activities, room = {}, {}, {}, {}, {}, {}, nil
end

local function begin_grants()
  claims, whose, holders, fields, seqs, nths, activity_ids = {}, {}, {}, {}, {}, {}, {}
  granted_to, counts, lists = {}, {}, {}
end

local function amount_of(coupon)
  local amount = amounts[coupon]
  if amount == nil then
    local facts = call('HMGET', coupon, 'amount', 'claimed', 'scheduled', 'activity_revision')
    amount = facts[1] and tonumber(facts[1])
    amounts[coupon], claimed[coupon], holes[coupon] = amount, tonumber(facts[2] or 0), 0
    if facts[3] == '1' then
      revisions[coupon] = tonumber(facts[4] or 0)
    else
      -- Only an activity allows a second one, and this coupon never had any.
      singles[coupon] = (facts[4] or '0') == '0'
    end
  end
  return amount
end

local function activity_at(name)
  local activity = activities[name]
  if not activity then
    local facts = call('HMGET', name, 'sold', 'second', 'in_second')
    local of = tonumber(facts[2] or 0)
    activity = {
      sold = tonumber(facts[1] or 0), granted = 0,
      second = math.max(of, second), in_second = of >= second and tonumber(facts[3]) or 0,
    }
    activities[name] = activity
  end
  return activity
end

local function already(held, nth)
  entries = entries or call('XLEN', KEYS[2])
  local waiting = 0
  if entries > 0 then
    local entry = string.match(held, ':(.-):')
    waiting = #call('XRANGE', KEYS[2], entry, entry)
  end
  if waiting == 0 and nth == '1' then
    return held
  end
  return format('already:%s:%s:%d', held, nth, waiting)
end

-- Decides an attempt. Nothing is written, and nothing is said of one that is granted.
local function decide(at, holder, question, user)
  local coupon, arg = KEYS[key_of[question]], arg_of[question]
  local amount = amount_of(coupon)
  if not amount then
    return 'missing'
  end
  local id, wanted, revision = ARGV[arg], ARGV[arg + 1], revisions[coupon]
  local activity = revision and ARGV[arg + 3] ~= '0' and ARGV[arg + 3] or '0'
  local stale = revision and revision > tonumber(ARGV[arg + 2])

  -- The holder before everything else: whoever holds what he may is told so, sold out, ended or not. First the one that he
  -- means, by itself: a loss may have taken an earlier one of which nobody had been told.
  if wanted ~= '0' and wanted ~= '1' then
    local meant = call('HGET', holder, id .. ':' .. wanted)
    if meant then
      return already(meant, wanted)
    end
  end
  -- The first that he does not hold, and the one before it. By an old limit nobody is told that he may hold no more.
  local nth, field, held = '1', id, call('HGET', holder, id)
  if held then
    if wanted == '1' or singles[coupon] then
      return already(held, nth)
    end
    local number, following = 1, held
    while following do
      held, number = following, number + 1
      nth = format('%d', number)
      field = id .. ':' .. nth
      following = call('HGET', holder, field)
    end
    if not stale and number > (activity ~= '0' and tonumber(ARGV[arg + 10]) or 1) then
      return already(held, format('%d', number - 1))
    end
  end

  local sold
  if revision then
    if stale then
      return 'stale'
    end
    if activity == '0' then
      return 'not-on-sale'
    end
    local status = ARGV[arg + 4]
    if status ~= '0' then
      return status == '1' and 'disabled' or 'sold-out'
    end
    if second < tonumber(ARGV[arg + 5]) then
      return 'not-started'
    end
    if second >= tonumber(ARGV[arg + 6]) then
      return 'ended'
    end
    if ARGV[arg + 7] ~= '1' then
      return 'try-again'
    end
    sold = activity_at(KEYS[key_of[question] + 2])
    if ARGV[arg + 8] ~= '0' and sold.in_second >= tonumber(ARGV[arg + 8]) then
      return 'try-again'
    end
    if ARGV[arg + 9] ~= '0' and sold.sold >= tonumber(ARGV[arg + 9]) then
      return 'sold-out'
    end
  end

  -- New seqs first, holes last: the list is looked at only once the numbers have run out.
  local seq, is_new = nil, claimed[coupon] < amount
  if is_new then
    seq = format('%d', claimed[coupon] + 1)
  else
    seq = call('LINDEX', KEYS[key_of[question] + 1], holes[coupon])
    if not seq then
      return 'sold-out'
    end
  end
  room = room or tonumber(ARGV[3]) - tonumber(call('GET', KEYS[3]) or 0)
  if room <= granted then
    return 'backlog'
  end

  if granted == 0 then
    begin_grants()
  end
  if is_new then
    claimed[coupon], counts[coupon] = claimed[coupon] + 1, seq
  else
    holes[coupon], lists[coupon] = holes[coupon] + 1, KEYS[key_of[question] + 1]
  end
  if sold then
    sold.sold, sold.in_second, sold.granted = sold.sold + 1, sold.in_second + 1, sold.granted + 1
  end
  granted, granted_to[holder] = granted + 1, true
  claims[granted] = id .. ':' .. user .. ':' .. seq .. ':' .. nth .. ':' .. activity .. ':' .. ARGV[2]
  whose[granted], holders[granted], fields[granted] = at, holder, field
  seqs[granted], nths[granted], activity_ids[granted] = seq, nth, activity
end

local function error_of(problem)
  return {err = type(problem) == 'table' and problem.err or tostring(problem)}
end

-- Writes what was granted. XADD comes first because it is the write that memory limits refuse: refused, nothing has happened.
local function write()
  if granted == 0 then
    return
  end
  local done, entry = pcall(call, 'XADD', KEYS[2], '*', 'c', table.concat(claims, ' '))
  if not done then
    for at = 1, granted do
      replies[whose[at]] = error_of(entry)
    end
    forget_read()
    granted = 0
    return
  end
  call('INCRBY', KEYS[3], granted)
  local in_entry = format(':%d', granted)
  for at = 1, granted do
    local held = seqs[at] .. ':' .. entry .. ':' .. activity_ids[at]
    call('HSET', holders[at], fields[at], held)
    replies[whose[at]] = 'claimed:' .. held .. ':' .. nths[at] .. in_entry
  end
  for coupon, count in pairs(counts) do
    call('HSET', coupon, 'claimed', count)
  end
  for coupon, name in pairs(lists) do
    call('LPOP', name, holes[coupon])
    holes[coupon] = 0
  end
  for name, sold in pairs(activities) do
    if sold.granted > 0 then
      -- Counted in the second that their entry names: the clock has gone on since it was read.
      local of = math.floor(tonumber(string.match(entry, '^%d+')) / 1000)
      if of > sold.second then
        sold.second, sold.in_second = of, sold.granted
      end
      call('HSET', name, 'sold', sold.sold, 'second', sold.second, 'in_second', sold.in_second)
      sold.granted = 0
    end
  end
  room, entries, granted = room - granted, nil, 0
end

forget_read()
for at = 1, attempts do
  local holder = KEYS[key + at - 1]
  -- Of one user's attempts each must find what the one before it was granted.
  if granted > 0 and granted_to[holder] then
    write()
  end
  -- What breaks one attempt (a key of another type) must break no other.
  local done, reply = pcall(decide, at, holder, byte(ARGV[6], at) - 64, ARGV[arg + at - 1])
  if not done then
    replies[at] = error_of(reply)
  elseif reply then
    replies[at] = reply
  end
end
write()
return replies
