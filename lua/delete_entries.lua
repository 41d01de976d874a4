-- Deletes entries from the outbox, by id, once MySQL has their claims.
--
-- KEYS[1] live     string   the shard's `run_id:epoch`, or `rebuild:<token>`
-- KEYS[2] outbox   stream   claims that MySQL may not have yet
-- ARGV[1] what `live` must be: under another the same id could be another claim's
-- ARGV[2...] entries, at most 1,000
--
-- Replies: {'deleted', how many were there}  {'not-loaded'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
return {'deleted', redis.call('XDEL', KEYS[2], unpack(ARGV, 2))}
