-- Settles what was taken and hands out slices, for many keys at once: their token buckets, by this server's clock.
-- KEYS[i] the bucket of an API key: a hash of its level (in millionths of a token) and when that was so (microseconds).
-- ARGV, four for each: tokens a second; tokens when full; tokens taken on credit since (negative: given back); tokens
-- wanted. Returns two for each: tokens granted, and the level after that, below zero where more was taken than there was.
-- A bucket that is absent, or holds what is no number, is a full one. When the clock was set back nothing is added.
local TOKEN = 1000000
local time = redis.call('TIME')
local now_us = tonumber(time[1]) * 1000000 + tonumber(time[2])

local function level_of(key, rate, full)
  local kept = redis.pcall('HMGET', key, 'level', 'at_us')
  if kept.err then
    redis.call('DEL', key)
    return full
  end
  local level, at_us = tonumber(kept[1] or ''), tonumber(kept[2] or '')
  if not level or not at_us or level ~= level or at_us ~= at_us then
    return full
  end
  -- A hundred times its burst is more than honest processes owe.
  level = math.max(level, -100 * full)
  local elapsed_us = math.min(math.max(0, now_us - at_us), math.ceil(101 * full / rate))
  return math.min(full, level + elapsed_us * rate)
end

local answer = {}
for i, key in ipairs(KEYS) do
  local rate, burst, taken, wanted = unpack(ARGV, 4 * i - 3, 4 * i)
  rate, taken, wanted = tonumber(rate), tonumber(taken), tonumber(wanted)
  local full = tonumber(burst) * TOKEN
  local level = math.min(full, level_of(key, rate, full) - taken * TOKEN)
  -- Half of what there is, at the most, so that several processes share.
  local granted = math.min(wanted, math.ceil(math.max(0, math.floor(level / TOKEN)) / 2))
  level = level - granted * TOKEN
  redis.call('HSET', key, 'level', string.format('%.0f', level), 'at_us', string.format('%.0f', now_us))
  -- By then it is full again.
  redis.call('PEXPIRE', key, math.ceil((full - level) / rate / 1000) + 60000)
  answer[2 * i - 1], answer[2 * i] = granted, level
end
return answer
