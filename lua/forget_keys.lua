-- Deletes keys of the shard before a rebuild loads the shard.
--
-- KEYS[1] live   string   `rebuild:<token>`
-- KEYS[2...]     keys to delete, at most 1,000
-- ARGV[1] expected value of `live`
--
-- Replies: {'forgotten'}  {'not-loaded'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
redis.call('UNLINK', unpack(KEYS, 2))
return {'forgotten'}
