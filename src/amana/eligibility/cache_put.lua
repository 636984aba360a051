-- Keeps an assessment in the customer's hash, unless the customer was forgotten since the generation was read.
-- KEYS[1] the customer; ARGV: generation seen ('' for none), field, value, milliseconds to keep. Returns 1 if kept.
local generation = redis.call('HGET', KEYS[1], 'generation') or ''
if generation ~= ARGV[1] then
  return 0
end
redis.call('HSET', KEYS[1], ARGV[2], ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return 1
