-- Writes a project record unless a newer version is there already, and tells the workers if it may not be used any more.
-- KEYS: 1 project record.  ARGV: 1 version, 2 control channel, 3 notice or '', 4.. other fields and values.
-- Returns 1 if written, 0 if the record is newer, or the project has been purged at this version or later: only what was
-- restored from a backup is newer than its purge.
local known, purged = unpack(redis.call('HMGET', KEYS[1], 'version', 'purged'))
local newest, version = tonumber(known or 0), tonumber(ARGV[1])
if newest > version or purged and newest == version then
  return 0
end
if purged then
  redis.call('DEL', KEYS[1])
end
redis.call('HSET', KEYS[1], 'version', ARGV[1], unpack(ARGV, 4))
if ARGV[3] ~= '' and newest < version then
  redis.call('PUBLISH', ARGV[2], ARGV[3])
end
return 1
