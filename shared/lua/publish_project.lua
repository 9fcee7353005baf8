-- Writes a project record unless a newer version is there already, and tells the workers if it may not be used any more.
-- KEYS: 1 project record.  ARGV: 1 version, 2 control channel, 3 notice or '', 4.. other fields and values.
-- Returns 1 if written, 0 if the record is newer or the project has been purged.
local known, purged = unpack(redis.call('HMGET', KEYS[1], 'version', 'purged'))
if purged or known and tonumber(known) > tonumber(ARGV[1]) then
  return 0
end
redis.call('HSET', KEYS[1], 'version', ARGV[1], unpack(ARGV, 4))
if ARGV[3] ~= '' and (not known or tonumber(known) < tonumber(ARGV[1])) then
  redis.call('PUBLISH', ARGV[2], ARGV[3])
end
return 1
