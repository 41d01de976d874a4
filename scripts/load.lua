-- wrk: one claim a request, each with another customer's token.
--
-- usage: wrk ... -s scripts/load.lua URL -- TOKENS COUPONS THREADS
-- TOKENS   a file with a token a line; each thread takes its own share, in the order of the file
-- COUPONS  a file with saler/name a line; claims go round over them
-- THREADS  as given to wrk with -t
--
-- Once the tokens are used up a thread repeats its last one, so that the server's count of claims stays the truth.

local threads = 0

function setup(thread)
  thread:set('index', threads)
  threads = threads + 1
end

function init(args)
  local tokens_file, coupons_file, share = args[1], args[2], tonumber(args[3])
  tokens, coupons = {}, {}
  local line_number = 0
  for line in io.lines(tokens_file) do
    if line_number % share == index then
      tokens[#tokens + 1] = line
    end
    line_number = line_number + 1
  end
  for line in io.lines(coupons_file) do
    local saler, name = line:match('^([^/]+)/(.+)$')
    coupons[#coupons + 1] = 'PATCH /api/users/' .. saler .. '/coupons/' .. name
      .. ' HTTP/1.1\r\nHost: ' .. wrk.host .. '\r\nAuthorization: '
  end
  sent = 0
end

function request()
  if sent < #tokens then
    sent = sent + 1
  end
  return coupons[sent % #coupons + 1] .. tokens[sent] .. '\r\n\r\n'
end
