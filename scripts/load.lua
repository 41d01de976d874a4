-- Script for wrk: every request is a claim by another customer.
--
-- usage: wrk ... -s scripts/load.lua URL -- TOKENS COUPONS THREADS
-- TOKENS   a file with a token per line; the threads share the lines, in the order of the file
-- COUPONS  a file with saler/name per line; successive tokens claim successive coupons, round and round
-- THREADS  the number of threads, as in wrk's option -t
--
-- After its last token a thread repeats that token, so the server grants no further claims.

local threads = 0
-- A thread's requests, their number (the operator # would search for the end of the table), and the number sent.
local requests, count, sent = {}, 0, 0

function setup(thread)
  thread:set('index', threads)
  threads = threads + 1
end

-- Builds all requests before the first is sent. Building them during the run, with garbage collection, would take a
-- tenth of the machine.
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
