-- Renews the leases of requests that still run, and tells which requests nobody cares for any longer.
-- Needs: clock.
-- KEYS: 1 open requests, 2 holds, 3 when anybody last renewed anything.
-- ARGV: 1 lease in ms, 2 how many to return at most, 3.. ids of requests to renew.
-- Those that are not open (any longer) stay so. If nobody has come for half a lease, it was the server that could not be
-- reached: then nobody is taken for lost, and everybody has one lease more to come back.
-- Returns {id, hold, ..} of requests whose lease has expired, the oldest first.
local now, lease = math.floor(clock() / 1000), tonumber(ARGV[1])
local last = redis.call('GET', KEYS[3])
local function renew(ids, first)
  local until_ms = string.format('%.0f', now + lease)
  for from = first, #ids, 1000 do
    local renewed = {}
    for i = from, math.min(from + 999, #ids) do
      renewed[#renewed + 1] = until_ms
      renewed[#renewed + 1] = ids[i]
    end
    redis.call('ZADD', KEYS[1], 'XX', unpack(renewed))
  end
end
redis.call('SET', KEYS[3], string.format('%.0f', now))
renew(ARGV, 3)
if not last or now - last > lease / 2 then
  renew(redis.call('ZRANGE', KEYS[1], '-inf', now + lease, 'BYSCORE'), 1)
  return {}
end
local ids = redis.call('ZRANGE', KEYS[1], '-inf', now, 'BYSCORE', 'LIMIT', 0, ARGV[2])
local holds, expired = ids[1] and redis.call('HMGET', KEYS[2], unpack(ids)) or {}, {}
for i, id in ipairs(ids) do
  if holds[i] then
    expired[#expired + 1], expired[#expired + 2] = id, holds[i]
  else
    redis.call('ZREM', KEYS[1], id)
  end
end
return expired
