-- Deletes entries from the outbox by id, after MySQL has stored their claims.
--
-- KEYS[1] live       string   the shard's `run_id:epoch`, or `rebuild:<token>`
-- KEYS[2] outbox     stream   claims that may not be in MySQL yet
-- KEYS[3] waiting    string   number of claims in the outbox
-- KEYS[4] counters   hash     process -> number of its last batch that MySQL has committed, as far as Redis knows
-- ARGV[1] expected value of `live`; with another value, an id could belong to another claim
-- ARGV[2] process   ARGV[3] number of a committed batch that is not older than the entries' batch
-- ARGV[4...] two for each entry: id, number of claims in the entry; at most 1,000 entries
--
-- Replies: {'deleted', number of entries found}  {'not-loaded'}
local call = redis.call
if call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
local deleted, claims = 0, 0
for at = 4, #ARGV, 2 do
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
-- Without its entries, the claims of the batch are in MySQL only. The counter shows when MySQL loses the batch.
if tonumber(ARGV[3]) > tonumber(call('HGET', KEYS[4], ARGV[2]) or 0) then
  call('HSET', KEYS[4], ARGV[2], ARGV[3])
end
return {'deleted', deleted}
