-- Takes a loaded Redis that has no owner, because an old program has loaded it.
--
-- KEYS[1] live    string   `run_id:epoch`
-- KEYS[2] owner   string   the id of the installation that the data belongs to
-- ARGV[1] expected value of `live`
-- ARGV[2] id of the installation
--
-- Replies: {'taken'}  {'other'}
if redis.call('GET', KEYS[1]) ~= ARGV[1] or redis.call('EXISTS', KEYS[2]) == 1 then
  return {'other'}
end
redis.call('SET', KEYS[2], ARGV[2])
return {'taken'}
