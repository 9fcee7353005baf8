-- Appends records of flows, and lets the oldest go until all of them together fit.
-- KEYS: 1 stream of flows, 2 how many bytes its entries have together.
-- ARGV: 1 how many bytes they may have, 2 field of the stream, 3 records.
-- What is counted are the records, not what Redis needs to keep them. A count that was lost is made anew.
-- Returns how many entries went, -1 if the records alone are too large, which are not appended then.
local most, size = tonumber(ARGV[1]), #ARGV[3]
if size > most then
  return -1
end
local bytes = tonumber(redis.call('GET', KEYS[2]))
if redis.call('XLEN', KEYS[1]) == 0 then
  bytes = 0
elseif not bytes then
  bytes = 0
  for _, entry in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do
    bytes = bytes + #entry[2][2]
  end
end
local gone = 0
while bytes + size > most do
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  if not oldest then
    bytes = 0
    break
  end
  redis.call('XDEL', KEYS[1], oldest[1])
  bytes, gone = bytes - #oldest[2][2], gone + 1
end
redis.call('XADD', KEYS[1], '*', ARGV[2], ARGV[3])
redis.call('SET', KEYS[2], string.format('%d', bytes + size))
return gone
