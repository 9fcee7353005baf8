-- Takes aside what was counted under a new id, unless a batch lies there already, and returns the one that lies there.
-- KEYS: counts, batch. ARGV: the new id. Returns fields and values, nothing if nothing was counted.
local counts, batch = KEYS[1], KEYS[2]

if redis.call('EXISTS', batch) == 0 then
  if redis.call('EXISTS', counts) == 0 then
    return {}
  end
  redis.call('RENAME', counts, batch)
end
redis.call('HSETNX', batch, 'batch', ARGV[1])
return redis.call('HGETALL', batch)
