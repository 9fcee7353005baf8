-- Reserves more for a request that runs: on each of the counters that it holds, or on none.
-- Needs: clock, counters.
-- KEYS: 1 open requests, 2 token record, 3 project record, 4 limits of all.
-- ARGV: 1 prefix of what is used, 2 hold, 3 more tokens, 4 more cost, 5 lease in ms.
-- The limits are those of now. A counter whose limit is gone takes more without a bound; a limit that is new since the
-- request was admitted does not count it. In a new period the counter starts with what is asked for now.
-- Returns {the hold that takes the place of the old one}, {''} if the hold is not open (any longer), or {'', scope,
-- field, amount, remaining, ms until all of it is there again (-1: never)} of the limit that denies it.
if not redis.call('ZSCORE', KEYS[1], ARGV[2]) then
  return {''}
end
local line = string.find(ARGV[2], '\n', 1, true)
local hold = cmsgpack.unpack(string.sub(ARGV[2], line + 1))
local ids = {token = hold[1], project = hold[2]}
local now = clock()
local more = {tokens = tonumber(ARGV[3]), cost = tonumber(ARGV[4])}
local token_limits, project_limits = redis.call('HGET', KEYS[2], 'limits'), redis.call('HGET', KEYS[3], 'limits')
local published = {token = token_limits, project = project_limits, global = redis.call('GET', KEYS[4])}

local amounts = {}
for scope, text in pairs(published) do
  local limits = text and text ~= '' and {cmsgpack.unpack(text)} or {0}
  for i = 1, limits[1] do
    amounts[scope .. ' ' .. limits[i + 1]] = limits[limits[1] + i * 5 - 1]
  end
end

local writes = {}
for at = 8, #hold, 5 do
  local scope, field, since = hold[at], hold[at + 1], hold[at + 2]
  local measure, window = string.match(field, '^(%w+):(%w+)$')
  local need = more[measure] or 0
  if need > 0 then
    local key = ARGV[1] .. scope .. (ids[scope] and ':' .. ids[scope] or '')
    local current, reset = period_of(window, now)
    local period, used = read_counter(redis.call('HGET', key, field), current)
    local amount = amounts[scope .. ' ' .. field]
    if amount and need > amount - used then
      return {'', scope, field, amount, math.max(0, amount - used), reset}
    end
    if period ~= since then
      hold[at + 2], hold[at + 3], hold[at + 4] = period, 0, hold[at + 3] + hold[at + 4]
    end
    hold[at + 3] = hold[at + 3] + need
    writes[#writes + 1] = {key, field, write_counter(period, used + need)}
  end
end
hold[6], hold[7] = hold[6] + more.tokens, hold[7] + more.cost
local extended = string.sub(ARGV[2], 1, line) .. cmsgpack.pack(hold)
redis.call('ZADD', KEYS[1], math.floor(now / 1000) + ARGV[5], extended)
if extended ~= ARGV[2] then
  redis.call('ZREM', KEYS[1], ARGV[2])
end
for _, write in ipairs(writes) do
  redis.call('HSET', write[1], write[2], write[3])
end
return {extended}
