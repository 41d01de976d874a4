-- Writes what activities have sold, as MySQL has counted it, during a rebuild. Repeating it changes nothing.
--
-- What was sold in this second before the loss nobody knows, so that an activity with a quota a second sells nothing more
-- in it.
--
-- KEYS[1] live           string   `rebuild:<token>`
-- KEYS[2...] activity    hash     one each
-- ARGV[1] what `live` must be
-- ARGV[2...] claims of each
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
