-- The server's own clock in microseconds since 1970, so that workers with skewed clocks agree.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000000 + time[2]
end
