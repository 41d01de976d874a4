-- Pages of what users hold, newest first. A coupon held several times is one item, at its latest claim. Pages that an instance
-- asks for together come in one call.
--
-- KEYS[1] live     string   the shard's `run_id:epoch`
-- KEYS[2...] one of each page:
--         holder   hash     what the user holds: coupon id (and `:nth` from the second on) -> `seq:entry:activity`
-- ARGV[1] what `live` must be
-- ARGV[2] prefix of coupon keys, on this shard
-- ARGV[3...] two of each page: how many to skip, how many to give
--
-- Replies: one a page, in their order:
--   {'page', saler, name, face value, description, how many, saler, ...}
--   {'not-loaded'}
--   an error   of this page alone
local call = redis.call
local loaded = call('GET', KEYS[1]) == ARGV[1]

-- What this call has read: many hold the same coupons.
local coupons = {}

local function coupon_of(id)
  local coupon = coupons[id]
  if not coupon then
    coupon = call('HMGET', ARGV[2] .. id, 'saler', 'name', 'face_value', 'description')
    coupons[id] = coupon
  end
  return coupon
end

local function page_of(holder, skip, give)
  if skip >= call('HLEN', holder) then
    return {'page'}
  end

  local held, at, count = {}, {}, {}
  local all = call('HGETALL', holder)
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
    local coupon = coupon_of(held[i])
    for part = 1, 4 do
      page[#page + 1] = coupon[part]
    end
    page[#page + 1] = count[held[i]]
  end
  return page
end

local replies = {}
for at = 1, #KEYS - 1 do
  if loaded then
    local done, page = pcall(page_of, KEYS[at + 1], tonumber(ARGV[2 * at + 1]), tonumber(ARGV[2 * at + 2]))
    replies[at] = done and page or {err = type(page) == 'table' and page.err or tostring(page)}
  else
    replies[at] = {'not-loaded'}
  end
end
return replies
