-- Ends one request: puts what it needed in the place of what was reserved for it, and appends its usage event.
-- Needs: counters.
-- KEYS: 1 open requests, 2 holds, 3 usage stream, 4 epoch.
-- ARGV: 1 prefix of what is used, 2 prefix of the marks below, 3 id of the request, 4 its hold as the worker knows it
-- ('': none), 5 field of the stream, 6 event, 7 tokens and 8 cost that it needed ('' if not known: what was reserved
-- stays), 9 '1' if it is only taken for lost, 10 prefix of identities, 11 prefix of project records.
-- A request that is not open was settled before, and then its event is appended once more: the record in SQL takes each
-- request once. There are two exceptions. If it was only taken for lost, what it really needed takes the place of what
-- it was charged with then. And if the epoch is another one than its hold's, the server has lost the hold with its
-- reservations, so that all of it is charged. Marks take care that each happens once: what was charged for the lost one,
-- or nothing, when nothing is to be charged any more. (What was settled just before the server was started anew, and is
-- settled again since the answer was lost, is charged twice.)
-- What a token or project has used that was purged meanwhile is not written: nobody would ever take it away again.
-- Returns 1 if it was settled, 2 if it was charged after a loss, 3 if it had been taken for lost, 0 if nothing is held
-- for it (any longer).
local id, is_lost = ARGV[3], ARGV[9] == '1'
local mark_key = ARGV[2] .. id
local held, mark = redis.call('HGET', KEYS[2], id), false
if not held then
  mark = redis.call('GET', mark_key)
  local is_settled = mark == '' or not mark and ARGV[4] == ''
  if mark and is_lost or is_settled then
    if not is_lost then
      redis.call('XADD', KEYS[3], '*', ARGV[5], ARGV[6])
    end
    return 0
  end
end
local text = held or mark or ARGV[4]
local hold, charged = cmsgpack.unpack(string.sub(text, string.find(text, '\n', 1, true) + 1))
local token_id, epoch, expires_at = hold[1], hold[3], hold[5]
if not held and not mark and redis.call('GET', KEYS[4]) == epoch then
  if not is_lost then
    redis.call('XADD', KEYS[3], '*', ARGV[5], ARGV[6])
  end
  return 0
end
local actual = {tokens = tonumber(ARGV[7]), cost = tonumber(ARGV[8])}

-- What each counter is to be charged with. What was reserved in a period before has been used there, as far as needed.
local needed = {}
for at = 8, #hold, 5 do
  local measure = string.match(hold[at + 1], '(%w+):%w+$')
  local amount = actual[measure] and math.min(actual[measure], MOST)
  needed[#needed + 1] = measure == 'concurrent' and 0 or amount and math.max(0, amount - hold[at + 4]) or hold[at + 3]
end

local keys, writes = {}, {}
local gone, token_key = {}, ARGV[1] .. 'token:' .. token_id
for at = 8, #hold, 5 do
  local scope = hold[at]
  if gone[scope] == nil then
    local owner = scope == 'token' and ARGV[10] .. token_id or ARGV[11] .. hold[2]
    gone[scope] = scope ~= 'global' and redis.call('HGET', owner, 'purged') or false
  end
end
local forgets = hold[8] == 'token' and redis.call('PTTL', token_key) < 0
local first = 8
while hold[first] do
  local is_token, fields = hold[first] == 'token', {}
  for at = first, #hold, 5 do
    fields[#fields + 1] = (hold[at] == 'token') == is_token and hold[at + 1] or nil
  end
  local key = ARGV[1] .. (is_token and 'token:' .. token_id or 'shared')
  local counters, changes = redis.call('HMGET', key, unpack(fields)), {}
  for i = 1, #fields do
    local at = first + i * 5 - 5
    local number = (at - 3) / 5
    local period, used = read_counter(counters[i], hold[at + 2])
    local difference = needed[number] - (held and hold[at + 3] or charged and charged[number] or 0)
    if period == hold[at + 2] and difference ~= 0 and not gone[hold[at]] then
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
redis.call('XADD', KEYS[3], '*', ARGV[5], ARGV[6])
for i = 1, #keys do
  redis.call('HSET', keys[i], unpack(writes[i]))
end
-- What is used is remembered as long as the token's record is; one whose end was changed meanwhile has that of now.
if forgets then
  redis.call('PEXPIREAT', token_key, expires_at + 604800000)
end
if is_lost then
  redis.call('SET', mark_key, '\n' .. cmsgpack.pack(hold, needed), 'PX', 86400000)
elseif held ~= ARGV[4] then
  redis.call('SET', mark_key, '', 'PX', 86400000)
end
if held then
  redis.call('ZREM', KEYS[1], id)
  redis.call('HDEL', KEYS[2], id)
  return 1
end
return mark and 3 or 2
