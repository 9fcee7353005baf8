-- Forgets a project, and remembers for a while that nobody may publish what it was, nor any earlier version of it.
-- KEYS: 1 project record, 2 what projects have used.  ARGV: 1 version, 2 control channel, 3 notice, 4 forget at (ms),
-- 5.. fields of what this one has used.
-- Returns 1 if there was anything of it, 0 if it was unknown or purged before.
local known = redis.call('HMGET', KEYS[1], 'version', 'purged')
redis.call('DEL', KEYS[1])
redis.call('HDEL', KEYS[2], unpack(ARGV, 5))
redis.call('HSET', KEYS[1], 'version', math.max(tonumber(known[1] or 0), tonumber(ARGV[1])), 'purged', 1, 'is_active', 0)
redis.call('PEXPIREAT', KEYS[1], ARGV[4])
if known[2] or not known[1] then
  return 0
end
redis.call('PUBLISH', ARGV[2], ARGV[3])
return 1
