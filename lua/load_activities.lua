-- Writes how many claims each activity has sold, as counted in MySQL, during a rebuild. Idempotent.
--
-- The number sold in the current second is lost with Redis' data. So an activity with a quota per second sells nothing
-- more in this second.
--
-- KEYS[1] live           string   `rebuild:<token>`
-- KEYS[2...] activity    hash     claims sold, and sold in the latest second
-- ARGV[1] expected value of `live`
-- ARGV[2...] claims of each activity
--
-- Replies: {'loaded'}  {'not-loaded'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
local second = redis.call('TIME')[1]
for at = 2, #KEYS do
  redis.call('HSET', KEYS[at], 'sold', ARGV[at], 'second', second, 'in_second', 4294967295)
end
return {'loaded'}
