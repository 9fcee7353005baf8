-- Appends an entry to the feed of flows, and drops its oldest ones until all together are within their bytes.
-- KEYS: the stream, how many bytes it has. ARGV: the entry's field, the entry, the most bytes.
local added = redis.call('XADD', KEYS[1], '*', ARGV[1], ARGV[2])
local total = redis.call('INCRBY', KEYS[2], #ARGV[2])
local most = tonumber(ARGV[3])
while total > most do
  local oldest = redis.call('XRANGE', KEYS[1], '-', '+', 'COUNT', 1)[1]
  if oldest[1] == added then
    -- The newest stays, whatever its size; and so a count that was wrong becomes right again.
    total = #ARGV[2]
    break
  end
  redis.call('XDEL', KEYS[1], oldest[1])
  total = total - #oldest[2][2]
end
redis.call('SET', KEYS[2], total)
return total
