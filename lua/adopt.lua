-- Gives Redis to an installation, and deletes whatever a rebuild could store or trust. The next rebuild deletes the rest.
--
-- KEYS[1] live       string   `run_id:epoch`, or `rebuild:<token>`
-- KEYS[2] owner      string   the id of the installation that the data belongs to
-- KEYS[3...]         keys to delete: origin, counters, outbox, waiting, sweeper, unread
-- ARGV[1] expected owner; empty: none
-- ARGV[2] id of the installation
-- ARGV[3] new value of `live`; names the epoch of the last loading, so that the next one has a higher epoch
--
-- Replies: {'adopted'}  {'other', the owner found}
local owner = redis.call('GET', KEYS[2]) or ''
if owner ~= ARGV[1] then
  return {'other', owner}
end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('SET', KEYS[1], ARGV[3])
redis.call('UNLINK', unpack(KEYS, 3))
return {'adopted'}
