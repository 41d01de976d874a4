-- Deletes entries from the outbox, by id, once MySQL has their claims.
--
-- KEYS[1] live      string   the shard's `run_id:epoch`, or `rebuild:<token>`
-- KEYS[2] outbox    stream   claims that MySQL may not have yet
-- KEYS[3] waiting   string   how many claims they are
-- ARGV[1] what `live` must be: under another the same id could be another claim's
-- ARGV[2...] two of each entry: its id, and how many claims it holds; at most 1,000 entries
--
-- Replies: {'deleted', how many entries were there}  {'not-loaded'}
local call = redis.call
if call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
local deleted, claims = 0, 0
for at = 2, #ARGV, 2 do
  if call('XDEL', KEYS[2], ARGV[at]) == 1 then
    deleted, claims = deleted + 1, claims + ARGV[at + 1]
  end
end
if call('XLEN', KEYS[2]) == 0 then
  -- Whatever else may have been put into the outbox: there is nothing now.
  call('DEL', KEYS[3])
elseif claims > 0 then
  call('DECRBY', KEYS[3], claims)
end
return {'deleted', deleted}
