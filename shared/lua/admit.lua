-- Decides one request in one atomic step: validates token and project, checks the limits of token, project and all, and
-- takes from each, or from none.
-- Needs: clock, counters.
-- KEYS: 1 token record, 2 epoch, 3 limits of all, 4 open requests.
-- ARGV: 1 prefix of project records, 2 prefix of what is used, 3 'take' or 'peek' (writes nothing), 4 tokens and 5 cost
-- that the request may need ('' if not known yet), 6 what is remembered of it while it runs ('' if nothing, and then it
-- is not held), 7 lease in ms, 8.. providers that have the requested route.
-- If a limit counts what is not known yet, nothing is taken, and the least that a request needs must be left.
-- Returns {'', token id, token label, token policy, sequence (0: nothing was taken), project record, hold or '',
--   limits of the token, limits of all (both '' unless peeking), then of the tightest limit of each measure:
--   scope, measure, window, amount, remaining, ms until all of it is there again (-1: never), ..}
-- or {denial, token id, token label, '', ms until the same request could pass (-1: never), project record, '', '', '',
--   and if a limit denied, these six of the one that would do so longest}.
-- All reads come before all writes, so that a write which the server refuses leaves nothing half taken.
local find, sub, floor, ceil, format = string.find, string.sub, math.floor, math.ceil, string.format
local epoch = redis.call('GET', KEYS[2])
if not epoch then
  return {'service_unavailable', '', '', '', -1, '', '', '', ''}
end
local token = redis.call('HMGET', KEYS[1], 'id', 'label', 'project_id', 'is_active', 'expires_at', 'max_requests',
  'requests', 'policy', 'limits')
if not token[1] then
  return {'token_not_found', '', '', '', -1, '', '', '', ''}
end
-- Every key carries the same hash tag as KEYS, so this access stays in the declared slot.
local project = redis.call('HMGET', ARGV[1] .. token[3], 'is_active', 'provider', 'record', 'limits')
local function deny(reason)
  return {reason, token[1], token[2], '', -1, project[3] or '', '', '', ''}
end
if token[4] ~= '1' then
  return deny('token_inactive')
end
local now = clock()
local now_ms = floor(now / 1000)
if tonumber(token[5]) <= now_ms then
  return deny('token_expired')
end
if not project[1] then
  return deny('service_unavailable')
end
if project[1] ~= '1' then
  return deny('project_inactive')
end
local served = false
for i = 8, #ARGV do
  served = served or ARGV[i] == project[2]
end
if not served then
  return deny('endpoint_not_found')
end

local token_limits, project_limits, all_limits = token[9] or '', project[4] or '', redis.call('GET', KEYS[3]) or ''
local tokens, cost = tonumber(ARGV[4]), tonumber(ARGV[5])
local function counts(measure)
  return find(token_limits, measure, 1, true) or find(project_limits, measure, 1, true)
    or find(all_limits, measure, 1, true)
end
local takes = ARGV[3] ~= 'peek' and (tokens or not counts('"tokens"')) and (cost or not counts('"cost"'))
local needs = {requests = 1, concurrent = 1, tokens = tokens or 1, cost = cost or 1}
local requests = token[7] + (takes and 1 or 0)
local reply = {'', token[1], token[2], token[8] or '', takes and requests or 0, project[3], '', '', ''}
local tightest, size = {}, 9
local refusal

local function note(scope, measure, window, amount, remaining, reset)
  remaining = remaining > 0 and remaining or 0
  local at = tightest[measure]
  if not at then
    at, size = size, size + 6
    tightest[measure] = at
  elseif remaining >= reply[at + 5] then
    return
  end
  reply[at + 1], reply[at + 2], reply[at + 3] = scope, measure, window
  reply[at + 4], reply[at + 5], reply[at + 6] = amount, remaining, reset
end

local function refuse(reason, wait, scope, measure, window, amount, remaining, reset)
  if refusal and (refusal[5] == -1 or wait ~= -1 and wait <= refusal[5]) then
    return
  end
  refusal = deny(reason)
  refusal[5] = wait
  refusal[10], refusal[11], refusal[12] = scope, measure, window
  refusal[13], refusal[14], refusal[15] = amount, remaining > 0 and remaining or 0, reset
end

if token[6] ~= '' then
  local amount = tonumber(token[6])
  if token[7] + 1 > amount then
    refuse('quota_exceeded', -1, 'token', 'requests', 'life', amount, 0, -1)
  end
  note('token', 'requests', 'life', amount, amount - requests, -1)
end

-- A rate is the generic cell rate algorithm in whole numbers: `<at>:<level>`. Each request raises the level by the
-- microseconds of the window, each microsecond lowers it by the amount, and it may not rise above burst * window.
local RATES = {second = 1000000, minute = 60000000, hour = 3600000000, day = 86400000000}
local function examine_rate(scope, window, amount, burst, state)
  local length, level, at = RATES[window], 0, now
  if state then
    local colon = find(state, ':', 1, true)
    at, level = tonumber(sub(state, 1, colon - 1)), tonumber(sub(state, colon + 1))
    if at < now then
      level, at = math.max(0, level - (now - at) * amount), now
    end
  end
  if burst < 0 then
    burst = amount
  end
  local excess = level - (burst - 1) * length
  if excess > 0 or amount < 1 then
    local wait = amount > 0 and burst > 0 and ceil(excess / amount / 1000) or -1
    refuse('rate_limit_exceeded', wait, scope, 'requests', window, amount, 0, amount > 0 and ceil(level / amount / 1000) or -1)
    return
  end
  if takes then
    level = level + length
  end
  note(scope, 'requests', window, amount, floor((burst * length - level) / length), ceil(level / amount / 1000))
  return takes and format('%.0f:%.0f', at, level)
end

local periods, resets = {}, {}
local function examine_counter(scope, measure, window, amount, counter)
  if not periods[window] then
    periods[window], resets[window] = period_of(window, now)
  end
  local need, reset = needs[measure], resets[window]
  local period, used = read_counter(counter, periods[window])
  if need > 0 and need > amount - used then
    local is_rate = measure == 'concurrent' or window == 'minute'
    local wait = need <= amount and (measure == 'concurrent' and 1000 or reset) or -1
    refuse(is_rate and 'rate_limit_exceeded' or 'quota_exceeded', wait, scope, measure, window, amount, amount - used, reset)
    return
  end
  if not takes or measure == 'concurrent' and ARGV[6] == '' then
    note(scope, measure, window, amount, amount - used, reset)
    return
  end
  note(scope, measure, window, amount, amount - used - need, reset)
  return need > 0 and write_counter(period, used + need), period, need
end

-- Per scope that has limits: its key, the fields and values to write, and what is taken of counters that settle.
local keys, writes, taken, is_new = {}, {}, {}, false
local function examine(scope, key, published)
  if published == '' then
    return
  end
  local limits, fields = cjson.decode(published), {}
  for i = 1, #limits, 5 do
    fields[#fields + 1] = limits[i] .. ':' .. limits[i + 1]
  end
  local states = redis.call('HMGET', key, unpack(fields))
  local changes, held = {}, {}
  for i = 1, #fields do
    local at = i * 5 - 4
    local measure, window, amount = limits[at], limits[at + 1], limits[at + 2]
    local change, period, need
    if measure == 'requests' and window ~= 'life' then
      change = examine_rate(scope, window, amount, limits[at + 3], states[i])
    else
      change, period, need = examine_counter(scope, measure, window, amount, states[i])
      if period and measure ~= 'requests' then
        held[#held + 1] = format(',"%s","%s",%.0f,0', fields[i], period, need)
      end
    end
    if change then
      changes[#changes + 1] = fields[i]
      changes[#changes + 1] = change
      is_new = is_new or scope == 'token' and not states[i]
    end
  end
  keys[#keys + 1] = key
  writes[#writes + 1] = changes
  if held[1] then
    taken[#taken + 1] = '["' .. scope .. '"' .. table.concat(held) .. ']'
  end
end
local token_key = ARGV[2] .. 'token:' .. token[1]
examine('token', token_key, token_limits)
examine('project', ARGV[2] .. 'project:' .. token[3], project_limits)
examine('global', ARGV[2] .. 'global', all_limits)
if refusal then
  return refusal
end
if ARGV[3] == 'peek' then
  reply[8], reply[9] = token_limits == '' and '[]' or token_limits, all_limits == '' and '[]' or all_limits
end
if not takes then
  return reply
end

redis.call('HSET', KEYS[1], 'requests', requests, 'last_used_at', now_ms)
for i = 1, #keys do
  if writes[i][1] then
    redis.call('HSET', keys[i], unpack(writes[i]))
  end
end
if is_new then
  -- What is used is remembered as long as the token's record is.
  redis.call('PEXPIREAT', token_key, token[5] + 604800000)
end
if ARGV[6] ~= '' then
  reply[7] = format('%s\n{"token_id":%s,"project_id":%s,"epoch":%s,"sequence":%.0f,"at":%.0f,"expires_at":%.0f,'
    .. '"tokens":%.0f,"cost":%.0f,"taken":[%s]}', ARGV[6], cjson.encode(token[1]), cjson.encode(token[3]),
    cjson.encode(epoch), requests, now_ms, token[5], tokens or 0, cost or 0, table.concat(taken, ','))
  redis.call('ZADD', KEYS[4], now_ms + ARGV[7], reply[7])
end
return reply
