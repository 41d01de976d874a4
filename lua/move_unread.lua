-- Moves unreadable entries from the outbox to the stream `unread`. Only a command of the operator deletes entries there.
--
-- KEYS[1] live      string   the shard's `run_id:epoch`, or `rebuild:<token>`
-- KEYS[2] outbox    stream   claims that may not be in MySQL yet
-- KEYS[3] waiting   string   number of claims in the outbox
-- KEYS[4] unread    stream   unreadable entries of the outbox
-- ARGV[1] expected value of `live`
-- ARGV[2] epoch in which the entries were read
-- ARGV[3...] two for each entry: id, number of claims in the entry; at most 1,000 entries
--
-- Replies: {'moved', number of entries found}  {'not-loaded'}
local call = redis.call
if call('GET', KEYS[1]) ~= ARGV[1] then
  return {'not-loaded'}
end
local moved, claims = 0, 0
for at = 3, #ARGV, 2 do
  local entry = call('XRANGE', KEYS[2], ARGV[at], ARGV[at])[1]
  if entry then
    -- All fields of the entry are kept.
    call('XADD', KEYS[4], '*', 'entry', ARGV[at], 'epoch', ARGV[2], unpack(entry[2]))
    call('XDEL', KEYS[2], ARGV[at])
    moved, claims = moved + 1, claims + ARGV[at + 1]
  end
end
-- The count is kept as in delete_entries.lua.
if call('XLEN', KEYS[2]) == 0 then
  call('DEL', KEYS[3])
elseif claims > 0 then
  call('DECRBY', KEYS[3], claims)
end
return {'moved', moved}
