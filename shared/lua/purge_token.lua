-- Forgets a token with all its secrets, and remembers for a while that nobody may publish what it was, nor any earlier
-- version of it.
-- KEYS: 1 identity, 2 record of the last known secret, 3 what it has used.
-- ARGV: 1 version, 2 control channel, 3 notice, 4 forget at (ms).
-- Returns 1 if there was anything of it, 0 if it was unknown or purged before.
local known = redis.call('HMGET', KEYS[1], 'record', 'previous', 'purged', 'version')
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], known[1] or KEYS[2], known[2] or KEYS[2])
redis.call('HSET', KEYS[1], 'version', math.max(tonumber(known[4] or 0), tonumber(ARGV[1])), 'purged', 1, 'is_active', 0)
redis.call('PEXPIREAT', KEYS[1], ARGV[4])
if known[3] or not known[1] then
  return 0
end
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
