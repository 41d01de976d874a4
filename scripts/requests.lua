-- Script for wrk: requests from a file, repeated without end.
--
-- usage: wrk ... -s scripts/requests.lua URL -- REQUESTS THREADS
-- REQUESTS  a file with `METHOD PATH TOKEN` per line; the threads share the lines, in the order of the file
-- THREADS   the number of threads, as in wrk's option -t

local threads = 0
local requests, count, sent = {}, 0, 0

function setup(thread)
  thread:set('index', threads)
  threads = threads + 1
end

function init(args)
  local share, line_number = tonumber(args[2]), 0
  for line in io.lines(args[1]) do
    if line_number % share == index then
      local method, path, token = line:match('^(%S+) (%S+) (%S+)$')
      count = count + 1
      requests[count] = method .. ' ' .. path .. ' HTTP/1.1\r\nHost: ' .. wrk.host
        .. '\r\nAuthorization: ' .. token .. '\r\n\r\n'
    end
    line_number = line_number + 1
  end
end

function request()
  sent = sent % count + 1
  return requests[sent]
end
