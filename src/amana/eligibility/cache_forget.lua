-- Forgets everything about a customer and leaves a new generation, so that an assessment under way is not kept.
-- KEYS[1] the customer; ARGV: milliseconds to keep the generation (longer than any assessment takes). Returns it.
local generation = tonumber(redis.call('HGET', KEYS[1], 'generation') or '0') + 1
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'generation', generation)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return generation
