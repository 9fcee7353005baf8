-- Raises counters to what is known to have been used; nothing that has been counted since is taken back.
-- Needs: counters.
-- KEYS: 1 what a scope has used.  ARGV: 1 when that is forgotten (ms, '': never), 2.. field, period, used, ...
-- Returns how many counters were raised.
local raised = 0
for i = 2, #ARGV, 3 do
  local wanted = tonumber(ARGV[i + 1])
  local period, used = read_counter(redis.call('HGET', KEYS[1], ARGV[i]), wanted)
  if period == wanted and tonumber(ARGV[i + 2]) > used then
    redis.call('HSET', KEYS[1], ARGV[i], write_counter(period, tonumber(ARGV[i + 2])))
    raised = raised + 1
  end
end
if ARGV[1] ~= '' then
  redis.call('PEXPIREAT', KEYS[1], ARGV[1])
end
return raised
