-- Ends one request: puts what it needed in the place of what was reserved for it, and appends its usage event.
-- Needs: counters.
-- KEYS: 1 open requests, 2 usage stream, 3 epoch.
-- ARGV: 1 prefix of what is used, 2 prefix of the marks below, 3 hold ('': none, only the event is appended), 4 field of
-- the stream, 5 event, 6 tokens and 7 cost that it needed ('' if not known: what was reserved stays).
-- A hold that is not open was settled before, and then only its event is appended once more: the record in SQL takes
-- each request once. If the epoch is another one, though, the server has lost the hold with its reservations, so that all
-- of it is charged; a mark takes care that this happens once, too. (What was settled just before the server was started
-- anew, and is settled again since the answer was lost, is charged twice.)
-- Returns 1 if it was settled, 2 if it was charged after a loss, 0 if it had been settled before.
if ARGV[3] == '' then
  redis.call('XADD', KEYS[2], '*', ARGV[4], ARGV[5])
  return 1
end
local hold = cmsgpack.unpack(string.sub(ARGV[3], string.find(ARGV[3], '\n', 1, true) + 1))
local ids, epoch, sequence, expires_at = {token = hold[1], project = hold[2]}, hold[3], hold[4], hold[5]
local is_open = redis.call('ZSCORE', KEYS[1], ARGV[3])
local mark = ARGV[2] .. epoch .. ':' .. ids.token .. ':' .. string.format('%.0f', sequence)
if not is_open and (redis.call('GET', KEYS[3]) == epoch or redis.call('EXISTS', mark) == 1) then
  redis.call('XADD', KEYS[2], '*', ARGV[4], ARGV[5])
  return 0
end
local tokens, cost = tonumber(ARGV[6]), tonumber(ARGV[7])

-- What a counter changes by. What was reserved in a period before has been used there, as far as it was needed.
local function change(field, reserved, before)
  local actual = reserved + before
  if string.sub(field, 1, 7) == 'tokens:' then
    actual = tokens or actual
  elseif string.sub(field, 1, 5) == 'cost:' then
    actual = cost or actual
  else
    return is_open and -reserved or 0
  end
  return math.max(0, actual - before) - (is_open and reserved or 0)
end

local keys, writes = {}, {}
local first = 8
while hold[first] do
  local scope, fields = hold[first], {}
  for at = first, #hold, 5 do
    fields[#fields + 1] = hold[at] == scope and hold[at + 1] or nil
  end
  local key = ARGV[1] .. scope .. (ids[scope] and ':' .. ids[scope] or '')
  local counters, changes = redis.call('HMGET', key, unpack(fields)), {}
  for i = 1, #fields do
    local at = first + i * 5 - 5
    local period, used = read_counter(counters[i], hold[at + 2])
    local difference = change(fields[i], hold[at + 3], hold[at + 4])
    if period == hold[at + 2] and difference ~= 0 then
      changes[#changes + 1] = fields[i]
      changes[#changes + 1] = write_counter(period, used + difference)
    end
  end
  if changes[1] then
    keys[#keys + 1], writes[#writes + 1] = key, changes
  end
  first = first + #fields * 5
end

-- The event goes first: it is what a server without memory refuses, and then nothing has been done.
redis.call('XADD', KEYS[2], '*', ARGV[4], ARGV[5])
for i = 1, #keys do
  redis.call('HSET', keys[i], unpack(writes[i]))
end
if is_open then
  redis.call('ZREM', KEYS[1], ARGV[3])
  return 1
end
redis.call('SET', mark, '', 'PX', 86400000)
redis.call('PEXPIREAT', ARGV[1] .. 'token:' .. ids.token, expires_at + 604800000)
return 2
