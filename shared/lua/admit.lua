-- Decides one request in one atomic step: validates token and project, takes one of the token's requests.
-- KEYS: 1 token record, 2 epoch.  ARGV: 1 prefix of project records, 2.. providers that have the requested route.
-- Returns {denial or '', token id, token label, token policy, sequence, project record}.
-- The clock is the server's own, so that workers with skewed clocks agree about expiry.
if redis.call('EXISTS', KEYS[2]) == 0 then
  return {'service_unavailable', '', '', '', 0, ''}
end
local token = redis.call('HMGET', KEYS[1], 'id', 'label', 'project_id', 'is_active', 'expires_at', 'max_requests',
  'requests', 'policy')
if not token[1] then
  return {'token_not_found', '', '', '', 0, ''}
end
-- Every project key carries the same hash tag as KEYS, so this access stays in the declared slot.
local project = redis.call('HMGET', ARGV[1] .. token[3], 'is_active', 'provider', 'record')
local function deny(reason)
  return {reason, token[1], token[2], '', 0, project[3] or ''}
end
if token[4] ~= '1' then
  return deny('token_inactive')
end
local clock = redis.call('TIME')
local now = tonumber(clock[1]) * 1000 + math.floor(tonumber(clock[2]) / 1000)
if tonumber(token[5]) <= now then
  return deny('token_expired')
end
if not project[1] then
  return deny('service_unavailable')
end
if project[1] ~= '1' then
  return deny('project_inactive')
end
local served = false
for i = 2, #ARGV do
  served = served or ARGV[i] == project[2]
end
if not served then
  return deny('endpoint_not_found')
end
if token[6] ~= '' and tonumber(token[7]) >= tonumber(token[6]) then
  return deny('quota_exceeded')
end
local sequence = redis.call('HINCRBY', KEYS[1], 'requests', 1)
redis.call('HSET', KEYS[1], 'last_used_at', string.format('%.0f', now))
return {'', token[1], token[2], token[8] or '', sequence, project[3]}
