-- The rate limit of one API key, on the clock of this server. Times are integers in microseconds.
--
-- `next` is the time of the next free token. It is at most `burst` - 1 intervals in the past, which is the size of the
-- bucket. Each token moves `next` by one interval, and the response says how long to wait for the token. A caller with
-- a share below 1 waits until a part of the burst is left for others.
--
-- KEYS[1] is the hash with the state. ARGV: command, requests per second, burst, share of the burst, value.
-- Response: wait (-1 if the monthly quota is used up), validity after the wait, name of the token for its release (or
-- the month that is used up, as YYYYMM), requests in the current month.
local INITIAL_DELAY, REPEAT_WINDOW, RECOVERY_INTERVAL, EXPIRY = 1000000, 60000000, 10000000, 40 * 86400
local MAX_AHEAD = 300000000  -- further ahead than any queue of processes or pause after a 429
local command, full_rate, full_burst = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local share, value = tonumber(ARGV[4]), tonumber(ARGV[5])

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- The month in UTC as YYYYMM. Days since 1970 are converted to a calendar that begins in March of the year 0.
local function month_of(seconds)
  local days = math.floor(seconds / 86400) + 719468
  local era = math.floor(days / 146097)
  local day = days - era * 146097
  local year = math.floor((day - math.floor(day / 1460) + math.floor(day / 36524) - math.floor(day / 146096)) / 365)
  local day_of_year = day - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local from_march = math.floor((5 * day_of_year + 2) / 153)
  local month = from_march < 10 and from_march + 3 or from_march - 9
  return (year + era * 400 + (month <= 2 and 1 or 0)) * 100 + month
end

local names = {'next', 'not_before', 'rate', 'last_429', 'step_at', 'month', 'used', 'ended', 'clock'}
local s = {}
for index, stored in ipairs(redis.call('HMGET', KEYS[1], unpack(names))) do
  s[names[index]] = tonumber(stored or '')
end

-- If the clock was set back, or another server was ahead, the times of the state are moved with the clock.
for _, name in ipairs({'next', 'not_before', 'last_429', 'step_at'}) do
  if s[name] and s.clock and now < s.clock then
    s[name] = s[name] - (s.clock - now)
  end
  if s[name] and s[name] > now + MAX_AHEAD then
    s[name] = nil
  end
end
s.clock = now

-- Without a state, this is the first use or the data was lost. Tokens assigned before a loss may still be used.
s.next = s.next or now + INITIAL_DELAY
s.not_before = s.not_before or 0
if not s.step_at then  -- only 429s reduce the rate
  s.rate = full_rate
end
s.rate = math.min(s.rate or full_rate, full_rate)
s.used = s.used or 0
local month = month_of(clock[1])
if s.month ~= month then
  s.month, s.used = month, 0
end

-- A rate that was reduced after 429s recovers by 1% of the full rate every ten seconds.
if s.step_at and now >= s.step_at then
  local steps = 1 + math.floor((now - s.step_at) / RECOVERY_INTERVAL)
  s.rate = math.min(full_rate, s.rate + steps * full_rate / 100)
  s.step_at = s.step_at + steps * RECOVERY_INTERVAL
end
if s.rate >= full_rate then
  s.step_at = nil
end

local function interval()
  return math.ceil(1000000 / s.rate)
end

local wait, validity, token = 0, 0, 0
if command == 'acquire' or command == 'acquire_after_outage' then
  local burst = s.rate < full_rate and 1 or full_burst
  local each = interval()
  local burst_depth = (burst - 1) * each
  if command == 'acquire_after_outage' then  -- the process sent requests that are not counted here
    s.next = math.max(s.next, now + each)
  end
  if s.ended == month then
    wait, token = -1, month
  else
    local free = math.max(s.next, now - burst_depth)
    local slot = math.max(now, free + math.floor((1 - share) * burst * each), s.not_before)
    free = math.max(free, slot - burst_depth)
    wait, validity = slot - now, free + burst_depth - slot
    s.next = free + each
    token = s.next
    s.used = s.used + 1
  end
elseif command == 'release' then
  if s.next == value then  -- no later token was assigned
    s.next = s.next - interval()
    s.used = math.max(0, s.used - 1)
    validity = 1
  end
elseif command == 'pause' then
  if now >= s.not_before then  -- during a pause, a 429 has the same cause as the one that started it
    if s.last_429 and now - s.last_429 < REPEAT_WINDOW then
      s.rate = math.max(s.rate * 0.9, full_rate / 10)
      s.step_at = now + RECOVERY_INTERVAL
    end
    s.last_429 = now
  end
  s.not_before = math.max(s.not_before, now + value)
  s.next = math.max(s.next, now + interval())
elseif command == 'used' then
  s.used = math.max(s.used, value)
elseif command == 'quota_exhausted' then
  s.ended = value  -- the month comes from the caller, because a new month may have begun since its response
end

local fields, removed = {}, {}
for _, name in ipairs(names) do
  if s[name] then
    fields[#fields + 1], fields[#fields + 2] = name, s[name]
  else
    removed[#removed + 1] = name
  end
end
redis.call('HSET', KEYS[1], unpack(fields))
if #removed > 0 then
  redis.call('HDEL', KEYS[1], unpack(removed))
end
redis.call('EXPIRE', KEYS[1], EXPIRY)
return {wait, validity, token, s.used}
