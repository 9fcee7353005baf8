-- Writes a token record unless a newer version is there already: a late write cannot bring back a revoked token.
-- Tells the workers if it may not be used any more.
-- KEYS: 1 token record, 2 what it has used (remembered as long).  ARGV: 1 version, 2 control channel, 3 notice or '', 4 requests, 5 last_used_at ms,
-- 6 forget at (ms), 7.. other fields and values.
-- Counters only grow, so that a republish never gives requests back.  Returns 1 if written, 0 if the record is newer.
local known = redis.call('HMGET', KEYS[1], 'version', 'requests', 'last_used_at')
if known[1] and tonumber(known[1]) > tonumber(ARGV[1]) then
  return 0
end
local function larger(known_value, value)
  if known_value and tonumber(known_value) > tonumber(value) then
    return known_value
  end
  return value
end
redis.call('HSET', KEYS[1], 'version', ARGV[1],
  'requests', larger(known[2], ARGV[4]), 'last_used_at', larger(known[3], ARGV[5]), unpack(ARGV, 7))
redis.call('PEXPIREAT', KEYS[1], ARGV[6])
redis.call('PEXPIREAT', KEYS[2], ARGV[6])
if ARGV[3] ~= '' and (not known[1] or tonumber(known[1]) < tonumber(ARGV[1])) then
  redis.call('PUBLISH', ARGV[2], ARGV[3])
end
return 1
