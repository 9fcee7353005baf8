-- Throws the batch away if it is the one of this id: by now there may be another one. KEYS: batch. ARGV: the id.
if redis.call('HGET', KEYS[1], 'batch') == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
