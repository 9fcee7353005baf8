-- Writes a token record unless a newer version is there already: a late write cannot bring back a revoked token.
-- KEYS: 1 token record.  ARGV: 1 version, 2 requests, 3 last_used_at ms, 4 forget at (ms), 5.. other fields and values.
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
  'requests', larger(known[2], ARGV[2]), 'last_used_at', larger(known[3], ARGV[3]), unpack(ARGV, 5))
redis.call('PEXPIREAT', KEYS[1], ARGV[4])
return 1
