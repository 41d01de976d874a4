-- Pages of salers' coupons, newest first. Pages that an instance asks for together come in one call.
--
-- KEYS[1] live       string       the shard's `run_id:epoch`
-- KEYS[2...] one of each page:
--         saler      sorted set   the saler's coupon ids, in order of creation
-- ARGV[1] what `live` must be
-- ARGV[2] prefix of coupon keys   ARGV[3] prefix of holes keys, on this shard
-- ARGV[4] how many pages
-- ARGV[5] which of them each asks for: a letter each, 'A' for the first
-- ARGV[6...] two of each page: how many to skip, how many to give
--
-- Replies: one to each who asks, in their order:
--   {'page', id, name, face value, description, scheduled, amount, claimed, holes, id, ...}
--   {'not-loaded'}
--   an error   of this page alone
local call = redis.call
local loaded = call('GET', KEYS[1]) == ARGV[1]

local function page_of(saler, skip, give)
  local page = {'page'}
  for _, id in ipairs(call('ZRANGE', saler, skip, skip + give - 1, 'REV')) do
    local coupon = call('HMGET', ARGV[2] .. id, 'name', 'face_value', 'description', 'scheduled', 'amount', 'claimed')
    page[#page + 1] = id
    for part = 1, 6 do
      page[#page + 1] = coupon[part]
    end
    page[#page + 1] = call('LLEN', ARGV[3] .. id)
  end
  return page
end

local pages, replies, count = {}, {}, tonumber(ARGV[4])
for at = 1, count do
  pages[at] = {'not-loaded'}
  if loaded then
    local done, page = pcall(page_of, KEYS[at + 1], ARGV[2 * at + 4], ARGV[2 * at + 5])
    pages[at] = done and page or {err = type(page) == 'table' and page.err or tostring(page)}
  end
end
for at = 1, #ARGV[5] do
  replies[at] = pages[string.byte(ARGV[5], at) - 64]
end
return replies
