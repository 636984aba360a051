-- One more generation of a customer: what was computed before answers no more. Tells every process.
-- KEYS[1] the customer; ARGV: milliseconds to keep the generation (longer than any computation), channel, message.
local generation = redis.call('INCR', KEYS[1])
redis.call('PEXPIRE', KEYS[1], ARGV[1])
redis.call('PUBLISH', ARGV[2], ARGV[3])
return generation
