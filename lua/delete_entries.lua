-- Deletes entries from the outbox by id, after MySQL has stored their claims.
--
-- KEYS[1] live      string   the shard's `run_id:epoch`, or `rebuild:<token>`
-- KEYS[2] outbox    stream   claims that may not be in MySQL yet
-- KEYS[3] waiting   string   number of claims in the outbox
-- ARGV[1] expected value of `live`; with another value, an id could belong to another claim
-- ARGV[2...] two for each entry: id, number of claims in the entry; at most 1,000 entries
--
-- Replies: {'deleted', number of entries found}  {'not-loaded'}
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
  -- An empty outbox corrects a wrong count, for example after foreign entries.
  call('DEL', KEYS[3])
elseif claims > 0 then
  call('DECRBY', KEYS[3], claims)
end
return {'deleted', deleted}
