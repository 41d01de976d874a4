-- wrk: one claim a request, each with another customer's token.
--
-- usage: wrk ... -s scripts/load.lua URL -- TOKENS COUPONS THREADS
-- TOKENS   a file with a token a line; each thread takes its own share, in the order of the file
-- COUPONS  a file with saler/name a line; claims go round over them
-- THREADS  as given to wrk with -t
--
-- Once the tokens are used up a thread repeats its last one, so that the server's count of claims stays the truth.

local threads = 0
-- A thread's requests, how many there are (Lua would search for the end of a table each time), and how many were sent.
local requests, count, sent = {}, 0, 0

function setup(thread)
  thread:set('index', threads)
  threads = threads + 1
end

-- Requests are made before the first is sent: made on the way, they and the collection of their garbage would take a tenth of
-- the machine.
function init(args)
  local tokens, coupons, share = args[1], {}, tonumber(args[3])
  for line in io.lines(args[2]) do
    local saler, name = line:match('^([^/]+)/(.+)$')
    coupons[#coupons + 1] = 'PATCH /api/users/' .. saler .. '/coupons/' .. name
      .. ' HTTP/1.1\r\nHost: ' .. wrk.host .. '\r\nAuthorization: '
  end
  local line_number = 0
  for token in io.lines(tokens) do
    if line_number % share == index then
      count = count + 1
      requests[count] = coupons[line_number % #coupons + 1] .. token .. '\r\n\r\n'
    end
    line_number = line_number + 1
  end
  collectgarbage()
  collectgarbage('stop')
end

function request()
  if sent < count then
    sent = sent + 1
  end
  return requests[sent]
end
