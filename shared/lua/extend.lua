-- Reserves so much in all for a request that runs: what is missing is taken from each of the counters that it holds, or
-- from none. To ask again for the same takes nothing more.
-- Needs: clock, counters.
-- KEYS: 1 open requests, 2 holds, 3 epoch, 4 identity of the token, 5 project record, 6 limits of all.
-- ARGV: 1 prefix of what is used, 2 prefix of the marks that settle leaves, 3 id of the request, 4 its hold as the worker
-- knows it, 5 tokens and 6 cost in all, 7 lease in ms.
-- The limits are those of now. A counter whose limit is gone takes more without a bound; a limit that is new since the
-- request was admitted does not count it. In a new period the counter starts with what is asked for now.
-- A request that was taken for lost, or was lost by the server, is taken in again: it is charged with what it has not
-- been charged with yet, as far as the limits allow it.
-- Returns {its hold from now on, ''}, {'', ''} if it has been settled, or {'', the standing of the limit that denies it,
-- as admit tells it}. Until there is an epoch, nobody knows the limits: that is an error.
local epoch, id = redis.call('GET', KEYS[3]), ARGV[3]
if not epoch then
  return {err = 'NOTREADY nothing has been published'}
end
local held, mark = redis.call('HGET', KEYS[2], id), false
if not held then
  mark = redis.call('GET', ARGV[2] .. id)
end
local text = held or mark or ARGV[4]
local line = string.find(text, '\n', 1, true)
if not line then
  return {'', ''}
end
local hold, charged = cmsgpack.unpack(string.sub(text, line + 1))
if not held and not mark and hold[3] == epoch then
  return {'', ''}
end
if not held then
  hold[3] = epoch
  for at = 8, #hold, 5 do
    hold[at + 3], hold[at + 4] = charged and charged[(at - 3) / 5] or 0, charged and hold[at + 4] or 0
  end
end
hold[6] = math.max(hold[6], math.min(MOST, tonumber(ARGV[5])))
hold[7] = math.max(hold[7], math.min(MOST, tonumber(ARGV[6])))
local in_all = {tokens = hold[6], cost = hold[7], concurrent = 1}
local now = clock()
-- By its id, not by its secret, which may have been replaced since; in the declared slot all the same.
local record = redis.call('HGET', KEYS[4], 'record')
local token_limits = record and redis.call('HGET', record, 'limits')
local project_limits = redis.call('HGET', KEYS[5], 'limits')
local published = {token = token_limits, project = project_limits, global = redis.call('GET', KEYS[6])}

local amounts = {}
for scope, known in pairs(published) do
  local limits = known and known ~= '' and {cmsgpack.unpack(known)} or {0}
  for i = 1, limits[1] do
    amounts[scope .. ' ' .. limits[i + 1]] = limits[limits[1] + i * 5 - 1]
  end
end

local writes = {}
for at = 8, #hold, 5 do
  local scope, field, since = hold[at], hold[at + 1], hold[at + 2]
  local measure, window = string.match(field, '(%w+):(%w+)$')
  local need = in_all[measure] - hold[at + 3] - hold[at + 4]
  if need > 0 then
    local key = ARGV[1] .. (scope == 'token' and 'token:' .. hold[1] or 'shared')
    local current, reset = period_of(window, now)
    local period, used = read_counter(redis.call('HGET', key, field), current)
    local amount = measure ~= 'concurrent' and amounts[scope .. ' ' .. field]
    if amount and need > amount - used then
      return {'', cmsgpack.pack({{scope, measure, window, amount, math.max(0, amount - used), reset}})}
    end
    if period ~= since then
      hold[at + 2], hold[at + 3], hold[at + 4] = period, 0, math.min(MOST, hold[at + 3] + hold[at + 4])
    end
    hold[at + 3] = math.min(MOST, hold[at + 3] + need)
    writes[#writes + 1] = {key, field, write_counter(period, used + need)}
  end
end
local own = mark and ARGV[4] or text
local extended = string.sub(own, 1, string.find(own, '\n', 1, true)) .. cmsgpack.pack(hold)
redis.call('ZADD', KEYS[1], math.floor(now / 1000) + ARGV[7], id)
redis.call('HSET', KEYS[2], id, extended)
for _, write in ipairs(writes) do
  redis.call('HSET', write[1], write[2], write[3])
end
if mark then
  redis.call('DEL', ARGV[2] .. id)
end
return {extended, ''}
