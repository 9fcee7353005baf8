-- Decides one request in one atomic step: validates token and project, checks the limits of token, project and all, and
-- takes from each, or from none.
-- Needs: clock, counters.
-- KEYS: 1 token record, 2 epoch, 3 limits of all, 4 open requests, 5 holds.
-- ARGV: 1 prefix of project records, 2 prefix of what is used, 3 'take' or 'peek' (writes nothing), 4 tokens and 5 cost
-- that the request may need ('' if not known yet), 6 what is remembered of it while it runs ('' if nothing, and then it
-- is not held), 7 its id, 8 lease in ms, 9.. providers that have the requested route.
-- If a limit counts what is not known yet, nothing is taken, and the least that a request needs must be left.
-- Returns {'', token id, token label, token policy, sequence (0: nothing was taken), project record, hold or '',
--   max_requests or '', limits of the token, limits of all, and of each measure its tightest limit: its place among
--   max_requests, if there is one, and the limits of token, project and all; what remains; and the ms until all of it is
--   there again (-1: never)}
-- or {denial, token id, token label, '', ms until the same request could pass (-1: never), project record, '', '', '',
--   '', and if limits denied it the standing of the one that does so longest}.
-- A standing is MessagePack: {{scope, measure, window, amount, remaining, and unless that never happens the ms until
-- all of it is there again}}.
-- All reads come before all writes, so that a write which the server refuses leaves nothing half taken.
local find, floor, ceil = string.find, math.floor, math.ceil
local epoch = redis.call('GET', KEYS[2])
if not epoch then
  return {'service_unavailable', '', '', '', -1, '', '', '', '', ''}
end
local record = KEYS[1]
local function look_up()
  return redis.call('HMGET', record, 'id', 'label', 'project_id', 'is_active', 'expires_at', 'max_requests',
    'requests', 'policy', 'limits', 'moved_to')
end
local token = look_up()
if token[10] and not token[1] then
  -- A secret that has been replaced, and works for a while still.
  record = token[10]
  token = look_up()
end
if not token[1] then
  return {'token_not_found', '', '', '', -1, '', '', '', '', ''}
end
-- Every key carries the same hash tag as KEYS, so this access stays in the declared slot.
local project = redis.call('HMGET', ARGV[1] .. token[3], 'is_active', 'provider', 'record', 'limits')
local function deny(reason)
  return {reason, token[1], token[2], '', -1, project[3] or '', '', '', '', ''}
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
for i = 9, #ARGV do
  served = served or ARGV[i] == project[2]
end
if not served then
  return deny('endpoint_not_found')
end

local token_limits, project_limits, all_limits = token[9] or '', project[4] or '', redis.call('GET', KEYS[3]) or ''
local tokens, cost = tonumber(ARGV[4]), tonumber(ARGV[5])
-- Callers may ask for any number; from here on all are exact.
tokens, cost = tokens and math.min(tokens, MOST), cost and math.min(cost, MOST)
local function counts(measure)
  return find(token_limits, measure, 1, true) or find(project_limits, measure, 1, true)
    or find(all_limits, measure, 1, true)
end
local takes = ARGV[3] ~= 'peek' and (tokens or not counts('tokens')) and (cost or not counts('cost'))
local requests = token[7] + (takes and 1 or 0)
local reply = {'', token[1], token[2], token[8] or '', takes and requests or 0, project[3], '', token[6], token_limits,
  all_limits}
-- Of each measure, where in the reply its tightest limit stands.
local tightest, told, place = {}, 10, 0
local refusal

local function refuse(reason, wait, state)
  if refusal and (refusal[5] == -1 or wait ~= -1 and wait <= refusal[5]) then
    return
  end
  refusal = deny(reason)
  refusal[5], refusal[11] = wait, cmsgpack.pack({state})
end

if token[6] ~= '' then
  local amount = tonumber(token[6])
  reply[11], reply[12], reply[13] = 0, amount - requests, -1
  tightest.requests, told, place = 11, 13, 1
  if token[7] + 1 > amount then
    refuse('quota_exceeded', -1, {'token', 'requests', 'life', amount, 0})
  end
end

-- A rate is the generic cell rate algorithm in whole numbers: a time and the level then (MessagePack). Each request raises
-- the level by the microseconds of the window, each microsecond lowers it by the amount, and it may not rise above
-- burst * window. If the clock goes back, the level stays until the clock is there again.
local lengths = {second = 1000000, minute = 60000000, hour = 3600000000, day = 86400000000}
local function level_now(state, amount)
  if not state then
    return 0, now
  end
  local at, level = cmsgpack.unpack(state)
  if at >= now then
    return level, at
  end
  level = level - (now - at) * amount
  return level > 0 and level or 0, now
end

-- What projects and all have used stands under one key, so that it is read and written at once. The hold lists the
-- counters that settle.
local needs = {requests = 1, concurrent = 1, tokens = tokens or 1, cost = cost or 1}
local periods, resets = {}, {}
local is_new = false
local hold = {token[1], token[3], epoch, requests, tonumber(token[5]), tokens or 0, cost or 0}
-- Examines the limits of a scope; their states begin behind `skipped`. Appends fields and values to what changes.
local function examine(scope, limits, states, skipped, changes)
  local count = limits[1]
  local changed = #changes
  for i = 1, count do
    local first, state = count + i * 5 - 3, states[skipped + i]
    local field, measure, window, amount = limits[i + 1], limits[first], limits[first + 1], limits[first + 2]
    local length = measure == 'requests' and lengths[window]
    local change, remaining, reset
    if length then
      local burst = limits[first + 3] < 0 and amount or limits[first + 3]
      local level, at = level_now(state, amount)
      local excess = level - (burst - 1) * length
      if excess > 0 or amount < 1 then
        local wait = amount > 0 and burst > 0 and ceil((at - now + excess / amount) / 1000) or -1
        remaining, reset = 0, amount > 0 and ceil((at - now + level / amount) / 1000) or nil
        refuse('rate_limit_exceeded', wait, {scope, measure, window, amount, 0, reset})
      else
        if takes then
          level = level + length
          change = cmsgpack.pack(at, level)
        end
        remaining, reset = burst - ceil(level / length), ceil((at - now + level / amount) / 1000)
      end
    else
      if not periods[window] then
        periods[window], resets[window] = period_of(window, now)
      end
      reset = resets[window]
      local need, period, used = needs[measure], read_counter(state, periods[window])
      remaining = amount - used
      if need > remaining and need > 0 then
        local is_rate = measure == 'concurrent' or window == 'minute'
        local wait = need <= amount and (measure == 'concurrent' and 1000 or reset) or -1
        remaining = remaining > 0 and remaining or 0
        refuse(is_rate and 'rate_limit_exceeded' or 'quota_exceeded', wait,
          {scope, measure, window, amount, remaining, reset})
      elseif takes and (measure ~= 'concurrent' or ARGV[6] ~= '') then
        remaining = remaining - need
        change = need > 0 and write_counter(period, used + need)
        if measure ~= 'requests' then
          local at = #hold
          hold[at + 1], hold[at + 2], hold[at + 3], hold[at + 4], hold[at + 5] = scope, field, period, need, 0
        end
      end
    end
    if change then
      changes[changed + 1], changes[changed + 2] = field, change
      changed = changed + 2
      is_new = is_new or not state
    end
    local at = tightest[measure]
    if not at or remaining < reply[at + 1] then
      if not at then
        at = told + 1
        tightest[measure], told = at, told + 3
      end
      reply[at], reply[at + 1], reply[at + 2] = place + i - 1, remaining > 0 and remaining or 0, reset or -1
    end
  end
  place = place + count
end
local token_key, shared_key = ARGV[2] .. 'token:' .. token[1], ARGV[2] .. 'shared'
local token_changes, shared_changes = {}, {}
if token_limits ~= '' then
  local limits = {cmsgpack.unpack(token_limits)}
  examine('token', limits, redis.call('HMGET', token_key, unpack(limits, 2, limits[1] + 1)), 0, token_changes)
end
local forgets = is_new
if project_limits ~= '' or all_limits ~= '' then
  local own = project_limits ~= '' and {cmsgpack.unpack(project_limits)} or {0}
  local common = all_limits ~= '' and {cmsgpack.unpack(all_limits)} or {0}
  local fields = {unpack(own, 2, own[1] + 1)}
  for i = 2, common[1] + 1 do
    fields[#fields + 1] = common[i]
  end
  local states = redis.call('HMGET', shared_key, unpack(fields))
  examine('project', own, states, 0, shared_changes)
  examine('global', common, states, own[1], shared_changes)
end
if refusal then
  return refusal
end
if not takes then
  return reply
end

redis.call('HSET', record, 'requests', requests, 'last_used_at', now_ms)
if token_changes[1] then
  redis.call('HSET', token_key, unpack(token_changes))
end
if shared_changes[1] then
  redis.call('HSET', shared_key, unpack(shared_changes))
end
if forgets then
  -- What is used is remembered as long as the token's record is.
  redis.call('PEXPIREAT', token_key, token[5] + 604800000)
end
if ARGV[6] ~= '' then
  reply[7] = ARGV[6] .. '\n' .. cmsgpack.pack(hold)
  redis.call('ZADD', KEYS[4], now_ms + ARGV[8], ARGV[7])
  redis.call('HSET', KEYS[5], ARGV[7], reply[7])
end
return reply
