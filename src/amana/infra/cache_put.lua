-- Writes many values at once: one command and one reply, where a client takes as long for each of them as we do for all.
-- KEYS the keys; ARGV: milliseconds after which they are forgotten, then a value for each key.
for at, key in ipairs(KEYS) do
   redis.call('SET', key, ARGV[at + 1], 'PX', ARGV[1])
end
return #KEYS
