-- Grants units of coupons to users, or refuses them. An instance sends the attempts of a turn in a batch. The script
-- decides every attempt by checks alone. Then it writes all granted claims: an outbox entry, the holders, the counts.
--
-- KEYS[1] live      string   the shard's `run_id:epoch`
-- KEYS[2] outbox    stream   claims that may not be in MySQL yet
-- KEYS[3] waiting   string   number of claims in the outbox
-- KEYS[4...] two or three per question:
--         coupon    hash     the coupon
--         holes     list     seqs up to `claimed` that no claim has
--         activity  hash     claims sold, and sold in the latest second; only if the question names an activity
-- then per attempt:
--         holder    hash     the user's claims: coupon id (`:nth` added from the second on) -> `seq:entry:activity`,
--                            or `seq:entry@time:activity` if the entry's id is in another second than the grant
--
-- ARGV[1] expected value of `live`
-- ARGV[2] epoch in `live`
-- ARGV[3] claims that the outbox may hold
-- ARGV[4] deadline of the callers, ms of Redis' clock
-- ARGV[5] number of questions; attempts for the same coupon share a question
-- ARGV[6] a letter per attempt, its question: 'A' for the first question
-- ARGV[7...] four per question:
--         coupon id
--         nth of the wanted claim; 0: the user's next claim
--         revision of the coupon's activities in the caller's cache; 0: none
--         activity in force, by the caller's cache; 0: none
-- and seven more with an activity:
--         status: 0 normal, 1 disabled, 2 sold out
--         start, s
--         end, s
--         '1' if the caller's draw was won, else '0'
--         claims a second; 0: no limit
--         claims in all; 0: no limit
--         claims of the coupon per user
-- then per attempt:
--         user id
--
-- Replies: a string per attempt, in order. Only `claimed` has changed data.
--   claimed:seq:entry:activity:nth:n   a new claim, in an entry of n claims; `entry@time` for `entry` as in the holder
--   already:seq:entry:activity:nth:n   a held claim; n is 1 while the outbox has its entry, else 0
--   seq:entry:activity                 the user's first claim, after MySQL has stored it: the holder's field, unchanged
--   sold-out  not-on-sale  disabled  not-started  ended  try-again
--   stale        the coupon's activities have changed since the caller cached them
--   archived:revision   the coupon has a tombstone of this revision; MySQL has all its claims
--   archived:closing:revision         the coupon will be archived when MySQL has all its claims
--   archived:loading:revision:token   the coupon comes back at this revision, and is not sold yet
--   missing      the shard lacks a coupon with a known id: data was lost
--   not-loaded   `live` has another value
--   too-late     the deadline has passed
--   backlog      the outbox is full
--   an error     the attempt failed; after `OOM` no data has changed
--
-- Time: TIME is the only clock. It is read once, so all decisions of a call belong to one second. The id of an outbox
-- entry is not a time. Ids only grow, so a single id from the future keeps all later ids there.
--
-- Speed: every argument and every element of a reply costs part of a microsecond, and converting numbers to strings is
-- slow. So numbers that arrive as strings stay strings. Local variables are faster than globals and table fields.

local KEYS, ARGV, call, format, byte = KEYS, ARGV, redis.call, string.format, string.byte

-- Positions of each question's first key and first argument, then of the first attempt's.
local key_of, arg_of, first_holder, first_user = {}, {}, 4, 7
for question = 1, tonumber(ARGV[5]) do
  key_of[question], arg_of[question] = first_holder, first_user
  if ARGV[first_user + 3] == '0' then
    first_holder, first_user = first_holder + 2, first_user + 4
  else
    first_holder, first_user = first_holder + 3, first_user + 11
  end
end
local attempts, replies = #KEYS - first_holder + 1, {}

local time = call('TIME')
local second, now_ms = tonumber(time[1]), time[1] * 1000 + time[2] / 1000

-- Values read so far, with the granted claims already applied. Per coupon key: amount, highest seq, revision of the
-- activities (if scheduled), whether users are limited to a single claim, and holes granted. Per activity key: see
-- `activity_counts`. Then the room of the outbox in claims, and its number of entries.
local amounts, claimed, revisions, single, holes_used, activities, room, entries
-- Claims granted but not yet written: their number, then per claim the outbox text, attempt, holder, field, seq, nth
-- and activity. Per holder key: whether a claim is granted. Per coupon key: new highest seq as a string, and key of the
-- holes used.
local granted = 0
local texts, attempt_of, holders, fields, seqs, nths, activity_ids, granted_to, new_claimed, holes_of

local function forget_read()
  amounts, claimed, revisions, single, holes_used, activities, room = {}, {}, {}, {}, {}, {}, nil
end

local function begin_grants()
  texts, attempt_of, holders, fields, seqs, nths, activity_ids = {}, {}, {}, {}, {}, {}, {}
  granted_to, new_claimed, holes_of = {}, {}, {}
end

-- The coupon's amount; nil if this shard lacks the coupon or has a tombstone of the coupon. The first call for a coupon
-- reads all its values.
local function amount_of(coupon)
  local amount = amounts[coupon]
  if amount == nil then
    local values = call('HMGET', coupon, 'amount', 'claimed', 'scheduled', 'activity_revision')
    amount = values[1] and tonumber(values[1])
    amounts[coupon], claimed[coupon], holes_used[coupon] = amount, tonumber(values[2] or 0), 0
    if values[3] == '1' then
      revisions[coupon] = tonumber(values[4] or 0)
    else
      -- Only an activity allows a second claim, and revision 0 means that the coupon never had an activity.
      single[coupon] = (values[4] or '0') == '0'
    end
  end
  return amount
end

-- Claims that the activity has sold, in all and in the current second, and claims granted but not yet written.
local function activity_counts(name)
  local counts = activities[name]
  if not counts then
    local values = call('HMGET', name, 'sold', 'second', 'in_second')
    local last = tonumber(values[2] or 0)
    -- A clock that was set back leaves a second in the future. One second is kept, because clocks are adjusted in small
    -- steps. A later second says nothing about the current second and must not stop the sale.
    local counts_on = last == second or last == second + 1
    counts = {
      sold = tonumber(values[1] or 0), granted = 0,
      second = counts_on and last or second, in_second = counts_on and tonumber(values[3]) or 0,
    }
    activities[name] = counts
  end
  return counts
end

-- The reply for a claim that the user already holds.
local function already(held, nth)
  entries = entries or call('XLEN', KEYS[2])
  local waiting = 0
  if entries > 0 then
    local entry = string.match(held, ':(%d+%-%d+)')
    waiting = #call('XRANGE', KEYS[2], entry, entry)
  end
  if waiting == 0 and nth == '1' then
    return held
  end
  return format('already:%s:%s:%d', held, nth, waiting)
end

-- Finds the user's next claim of a coupon, and returns nil, nth and the field in the holder. Returns a reply if the
-- user holds the wanted claim, or as many claims as allowed. The limit of a stale activity does not count.
local function next_claim(holder, coupon, arg, activity, stale)
  local id, wanted = ARGV[arg], ARGV[arg + 1]
  -- Look up the wanted claim directly: data loss may have taken an earlier, unanswered claim of the user.
  if wanted ~= '0' and wanted ~= '1' then
    local found = call('HGET', holder, id .. ':' .. wanted)
    if found then
      return already(found, wanted)
    end
  end
  local held = call('HGET', holder, id)
  if not held then
    return nil, '1', id
  end
  if wanted == '1' or single[coupon] then
    return already(held, '1')
  end
  local number, following, nth, field = 1, held, nil, nil
  while following do
    held, number = following, number + 1
    nth = format('%d', number)
    field = id .. ':' .. nth
    following = call('HGET', holder, field)
  end
  if not stale and number > (activity ~= '0' and tonumber(ARGV[arg + 10]) or 1) then
    return already(held, format('%d', number - 1))
  end
  return nil, nth, field
end

-- The reason why the activity does not sell now, or nil and the activity's counts.
local function activity_refusal(name, arg)
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
  local counts = activity_counts(name)
  if ARGV[arg + 8] ~= '0' and counts.in_second >= tonumber(ARGV[arg + 8]) then
    return 'try-again'
  end
  if ARGV[arg + 9] ~= '0' and counts.sold >= tonumber(ARGV[arg + 9]) then
    return 'sold-out'
  end
  return nil, counts
end

-- Decides an attempt without writing. Returns the reply, or nil if the attempt is granted.
local function decide(attempt, holder, question, user)
  local key, arg = key_of[question], arg_of[question]
  local coupon = KEYS[key]
  local amount = amount_of(coupon)
  if not amount then
    local archived = call('HGET', coupon, 'archived')
    return archived and 'archived:' .. archived or 'missing'
  end
  local revision, activity = revisions[coupon], '0'
  if revision then
    activity = ARGV[arg + 3]
  end
  local stale = revision and revision > tonumber(ARGV[arg + 2])

  -- Held claims come first: asking again returns the claim even when the coupon is sold out or the sale has ended.
  local reply, nth, field = next_claim(holder, coupon, arg, activity, stale)
  if reply then
    return reply
  end
  local counts
  if revision then
    if stale then
      return 'stale'
    end
    if activity == '0' then
      return 'not-on-sale'
    end
    reply, counts = activity_refusal(KEYS[key + 2], arg)
    if reply then
      return reply
    end
  end

  -- New seqs come first. The list of holes is read only after the last new seq.
  local seq, is_new = nil, claimed[coupon] < amount
  if is_new then
    seq = format('%d', claimed[coupon] + 1)
  else
    seq = call('LINDEX', KEYS[key + 1], holes_used[coupon])
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
    claimed[coupon], new_claimed[coupon] = claimed[coupon] + 1, seq
  else
    holes_used[coupon], holes_of[coupon] = holes_used[coupon] + 1, KEYS[key + 1]
  end
  if counts then
    counts.sold, counts.in_second, counts.granted = counts.sold + 1, counts.in_second + 1, counts.granted + 1
  end
  granted, granted_to[holder] = granted + 1, true
  texts[granted] = ARGV[arg] .. ':' .. user .. ':' .. seq .. ':' .. nth .. ':' .. activity .. ':' .. ARGV[2]
  attempt_of[granted], holders[granted], fields[granted] = attempt, holder, field
  seqs[granted], nths[granted], activity_ids[granted] = seq, nth, activity
end

local function error_of(problem)
  return {err = type(problem) == 'table' and problem.err or tostring(problem)}
end

-- Writes the coupons' highest seqs, removes the holes used, and writes the activities' counts.
local function write_counts()
  for coupon, seq in pairs(new_claimed) do
    call('HSET', coupon, 'claimed', seq)
  end
  for coupon, holes in pairs(holes_of) do
    call('LPOP', holes, holes_used[coupon])
    holes_used[coupon] = 0
  end
  for name, counts in pairs(activities) do
    if counts.granted > 0 then
      call('HSET', name, 'sold', counts.sold, 'second', counts.second, 'in_second', counts.in_second)
      counts.granted = 0
    end
  end
end

-- Returns the id of the claims' entry, and `@time` if the id is in another second than TIME. Then every claim carries
-- the time, in ms. The id is known only after XADD, so that rare entry is written again. An error ends the script.
local function with_time(entry)
  if string.match(entry, '^(%d+)%d%d%d%-') == time[1] then
    return entry, ''
  end
  local ms = format('%s%03d', time[1], time[2] / 1000)
  call('XDEL', KEYS[2], entry)
  return call('XADD', KEYS[2], '*', 'c', table.concat(texts, ':' .. ms .. ' ') .. ':' .. ms), '@' .. ms
end

-- Writes the granted claims and sets their replies. XADD comes first, because a memory limit refuses XADD before any
-- data has changed. Then all these attempts get the error.
local function write()
  if granted == 0 then
    return
  end
  local done, entry = pcall(call, 'XADD', KEYS[2], '*', 'c', table.concat(texts, ' '))
  if not done then
    for at = 1, granted do
      replies[attempt_of[at]] = error_of(entry)
    end
    forget_read()
    granted = 0
    return
  end
  local at_time
  entry, at_time = with_time(entry)
  call('INCRBY', KEYS[3], granted)
  local claims_of_entry = format(':%d', granted)
  for at = 1, granted do
    local held = seqs[at] .. ':' .. entry .. at_time .. ':' .. activity_ids[at]
    call('HSET', holders[at], fields[at], held)
    replies[attempt_of[at]] = 'claimed:' .. held .. ':' .. nths[at] .. claims_of_entry
  end
  write_counts()
  room, entries, granted = room - granted, nil, 0
end

local refusal = call('GET', KEYS[1]) ~= ARGV[1] and 'not-loaded' or now_ms > tonumber(ARGV[4]) and 'too-late'
if refusal then
  for at = 1, attempts do
    replies[at] = refusal
  end
  return replies
end

forget_read()
for at = 1, attempts do
  local holder = KEYS[first_holder + at - 1]
  -- A second attempt of the same user must see the claim of the first attempt.
  if granted > 0 and granted_to[holder] then
    write()
  end
  -- An error in an attempt (a key of another type) must not affect the rest of the batch.
  local done, reply = pcall(decide, at, holder, byte(ARGV[6], at) - 64, ARGV[first_user + at - 1])
  if not done then
    replies[at] = error_of(reply)
  elseif reply then
    replies[at] = reply
  end
end
write()
return replies
