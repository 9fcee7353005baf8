-- Sets a request aside whose hold nobody can read: it would be found expired again and again.
-- KEYS: 1 open requests, 2 holds, 3 dead letters.
-- ARGV: 1 id of the request, 2 how many letters are kept, 3.. fields and values of the letter.
-- What it has taken of counters stays taken. Returns 1, or 0 if it is not held any longer.
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 0 then
  return 0
end
redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], '*', unpack(ARGV, 3))
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[1], ARGV[1])
return 1
