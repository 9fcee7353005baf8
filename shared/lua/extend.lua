-- Reserves more for a request that runs: on each of the counters that it holds, or on none.
-- Needs: clock, counters.
-- KEYS: 1 open requests, 2 token record, 3 project record, 4 limits of all.
-- ARGV: 1 prefix of what is used, 2 hold, 3 more tokens, 4 more cost, 5 lease in ms.
-- The limits are those of now. A counter whose limit is gone takes more without a bound; a limit that is new since the
-- request was admitted does not count it. In a new period the counter starts with what is asked for now.
-- Returns {the hold that takes the place of the old one}, {''} if the hold is not open (any longer), or {'', scope,
-- measure, window, amount, remaining, ms until all of it is there again (-1: never)} of the limit that denies it.
if not redis.call('ZSCORE', KEYS[1], ARGV[2]) then
  return {''}
end
local line = string.find(ARGV[2], '\n', 1, true)
local hold = cjson.decode(string.sub(ARGV[2], line + 1))
local now = clock()
local more = {tokens = tonumber(ARGV[3]), cost = tonumber(ARGV[4])}
local token_limits, project_limits = redis.call('HGET', KEYS[2], 'limits'), redis.call('HGET', KEYS[3], 'limits')
local published = {token = token_limits, project = project_limits, global = redis.call('GET', KEYS[4])}

local function amounts_of(scope)
  local amounts, text = {}, published[scope]
  local limits = text and text ~= '' and cjson.decode(text) or {}
  for i = 1, #limits, 5 do
    amounts[limits[i] .. ':' .. limits[i + 1]] = limits[i + 2]
  end
  return amounts
end

local keys, writes, taken = {}, {}, {}
for i, scope in ipairs(hold.taken) do
  local name, fields, changes, held = scope[1], {}, {}, {}
  local amounts = amounts_of(name)
  keys[i] = ARGV[1] .. name .. (name == 'global' and '' or ':' .. hold[name .. '_id'])
  for at = 2, #scope, 4 do
    fields[#fields + 1] = scope[at]
  end
  local counters = redis.call('HMGET', keys[i], unpack(fields))
  for n, field in ipairs(fields) do
    local at = n * 4 - 2
    local since, reserved, before = scope[at + 1], scope[at + 2], scope[at + 3]
    local measure, window = string.match(field, '^(%w+):(%w+)$')
    local need = more[measure] or 0
    if need > 0 then
      local period, reset = period_of(window, now)
      local used
      period, used = read_counter(counters[n], period)
      if amounts[field] and need > amounts[field] - used then
        return {'', name, measure, window, amounts[field], math.max(0, amounts[field] - used), reset}
      end
      if period ~= since then
        since, reserved, before = period, 0, before + reserved
      end
      reserved = reserved + need
      changes[#changes + 1] = field
      changes[#changes + 1] = write_counter(period, used + need)
    end
    held[n] = string.format(',"%s","%s",%.0f,%.0f', field, since, reserved, before)
  end
  writes[i] = changes
  taken[i] = '["' .. name .. '"' .. table.concat(held) .. ']'
end

local extended = string.format('%s\n{"token_id":%s,"project_id":%s,"epoch":%s,"sequence":%.0f,"at":%.0f,'
  .. '"expires_at":%.0f,"tokens":%.0f,"cost":%.0f,"taken":[%s]}', string.sub(ARGV[2], 1, line - 1),
  cjson.encode(hold.token_id), cjson.encode(hold.project_id), cjson.encode(hold.epoch), hold.sequence, hold.at,
  hold.expires_at, hold.tokens + more.tokens, hold.cost + more.cost, table.concat(taken, ','))
redis.call('ZADD', KEYS[1], math.floor(now / 1000) + ARGV[5], extended)
if extended ~= ARGV[2] then
  redis.call('ZREM', KEYS[1], ARGV[2])
end
for i = 1, #keys do
  if writes[i][1] then
    redis.call('HSET', keys[i], unpack(writes[i]))
  end
end
return {extended}
