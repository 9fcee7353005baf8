-- Renews the leases of requests that still run, and tells which requests nobody cares for any longer.
-- Needs: clock.
-- KEYS: 1 open requests.  ARGV: 1 lease in ms, 2 how many to return at most, 3.. holds to renew.
-- Those that are not open (any longer) stay so. Returns holds whose lease has expired, the oldest first.
local now = math.floor(clock() / 1000)
local until_ms = string.format('%.0f', now + ARGV[1])
for first = 3, #ARGV, 1000 do
  local renewed = {}
  for i = first, math.min(first + 999, #ARGV) do
    renewed[#renewed + 1] = until_ms
    renewed[#renewed + 1] = ARGV[i]
  end
  redis.call('ZADD', KEYS[1], 'XX', unpack(renewed))
end
return redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[2])
