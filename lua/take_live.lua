-- Changes the key `live` where it still holds what the caller found: to take the shard for a rebuild, to renew that, and to
-- declare it loaded.
--
-- KEYS[1] live   string   `run_id:epoch`, or `rebuild:<token>`
-- ARGV[1] what it must hold; empty: nothing
-- ARGV[2] what it shall hold
-- ARGV[3] ms after which it expires; 0: never
--
-- Replies: {'taken'}  {'other', what it holds}
local held = redis.call('GET', KEYS[1]) or ''
if held ~= ARGV[1] then
  return {'other', held}
end
if ARGV[1] == ARGV[2] and held ~= '' then
  -- Renewed or let go: no write that a memory limit refuses, or a rebuild that fails for it would hold the shard till the end.
  redis.call('PEXPIRE', KEYS[1], ARGV[3])
elseif ARGV[3] == '0' then
  redis.call('SET', KEYS[1], ARGV[2])
else
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
end
return {'taken'}
