-- A page of what a user holds, newest first. A coupon held several times is one item, at its latest claim.
--
-- KEYS[1] live     string   the shard's `run_id:epoch`
-- KEYS[2] holder   hash     what the user holds: coupon id (and `:nth` from the second on) -> `seq:entry:activity`
-- ARGV[1] what `live` must be
-- ARGV[2] how many to skip   ARGV[3] how many to give   ARGV[4] prefix of coupon keys, on this shard
--
-- Replies: {'page', saler, name, face value, description, how many, saler, ...}  {'not-loaded'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
local skip, give = tonumber(ARGV[2]), tonumber(ARGV[3])
if skip >= redis.call('HLEN', KEYS[2]) then
  return {'page'}
end

local held, at, count = {}, {}, {}
local all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
  local id = string.match(all[i], '^%d+')
  local ms, counter = string.match(all[i + 1], ':(%d+)-(%d+):')
  if not count[id] then
    held[#held + 1] = id
  end
  count[id] = (count[id] or 0) + 1
  -- One number that sorts like the entry; exact up to 2^53 with 1,024 entries a millisecond told apart.
  at[id] = math.max(at[id] or 0, ms * 1024 + math.min(counter, 1023))
end
table.sort(held, function(a, b)
  if at[a] ~= at[b] then
    return at[a] > at[b]
  end
  return tonumber(a) > tonumber(b)
end)

local page = {'page'}
for i = skip + 1, math.min(skip + give, #held) do
  local coupon = redis.call('HMGET', ARGV[4] .. held[i], 'saler', 'name', 'face_value', 'description')
  for part = 1, 4 do
    page[#page + 1] = coupon[part]
  end
  page[#page + 1] = count[held[i]]
end
return page
