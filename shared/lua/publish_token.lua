-- Writes a token record unless a newer version was there already: a late write cannot bring back a revoked token, nor a
-- secret that has been replaced. Tells the workers if the token may not be used any more.
-- KEYS: 1 token record, 2 what it has used (remembered as long), 3 identity: what is known of the token by its id,
-- 4 record of the secret that was replaced (the same as 1 if there is none).
-- ARGV: 1 version, 2 control channel, 3 notice or '', 4 requests, 5 last_used_at ms, 6 forget at (ms), 7 until when the
-- secret that was replaced works (ms), 8 is_active, 9.. other fields and values.
-- Counters only grow, so that a republish never gives requests back; they come along from the records of replaced
-- secrets. Of these, one may live on for a while and leads to this record; all others go.
-- Returns 1 if written, 0 if what is there is newer, or the token has been purged at this version or later: only what was
-- restored from a backup is newer than its purge.
local version = tonumber(ARGV[1])
local identity = redis.call('HMGET', KEYS[3], 'version', 'record', 'previous', 'purged')
local known = redis.call('HMGET', KEYS[1], 'version', 'moved_to')
local newest = math.max(tonumber(identity[1] or 0), tonumber(known[1] or 0))
if newest > version or identity[4] and newest == version then
  return 0
end

local requests, last_used_at = ARGV[4], ARGV[5]
local function larger(one, other)
  return one and tonumber(one) > tonumber(other) and one or other
end
for _, key in ipairs({KEYS[1], KEYS[4], identity[2] or KEYS[1], identity[3] or KEYS[1]}) do
  local counted = redis.call('HMGET', key, 'requests', 'last_used_at')
  requests, last_used_at = larger(counted[1], requests), larger(counted[2], last_used_at)
end
for _, key in ipairs({identity[2] or KEYS[4], identity[3] or KEYS[4], KEYS[4], known[2] and KEYS[1] or KEYS[4]}) do
  if key ~= KEYS[1] or known[2] then
    redis.call('DEL', key)
  end
end
if identity[4] then
  redis.call('DEL', KEYS[3])
end

redis.call('HSET', KEYS[1], 'version', ARGV[1], 'requests', requests, 'last_used_at', last_used_at,
  'is_active', ARGV[8], unpack(ARGV, 9))
redis.call('HSET', KEYS[3], 'version', ARGV[1], 'record', KEYS[1], 'previous', KEYS[4], 'is_active', ARGV[8])
if KEYS[4] ~= KEYS[1] then
  redis.call('HSET', KEYS[4], 'moved_to', KEYS[1], 'moved_until', ARGV[7], 'version', ARGV[1])
  redis.call('PEXPIREAT', KEYS[4], ARGV[7])
end
for i = 1, 3 do
  redis.call('PEXPIREAT', KEYS[i], ARGV[6])
end
if ARGV[3] ~= '' and newest < version then
  redis.call('PUBLISH', ARGV[2], ARGV[3])
end
return 1
