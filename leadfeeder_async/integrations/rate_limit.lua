-- The limit of one API key, on this server's clock; times are whole microseconds.
--
-- `next` is when the next token is free for everybody. It is never more than `burst` - 1 intervals in the past: that is
-- the bucket. Whoever takes a token moves it by one interval, and is told how long to wait for it. Bulk work waits until
-- a part of the burst is left over.
--
-- KEYS[1] holds all of it. ARGV: what to do, requests a second, burst, the part of the burst to use, a value.
-- The answer: the wait (-1: the month's requests are used up), for how long after it the token is good, the token's
-- name for giving it back (the month that is used up, as YYYYMM), and the month's requests so far.
local HOLD, MEMORY, STEP, KEPT_FOR = 1000000, 60000000, 10000000, 40 * 86400
local command, full, most, share, value = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- The month in UTC as YYYYMM: days since 1970 brought into the calendar that begins in March of the year 0.
local function month_of(seconds)
  local days = math.floor(seconds / 86400) + 719468
  local era = math.floor(days / 146097)
  local day = days - era * 146097
  local year = math.floor((day - math.floor(day / 1460) + math.floor(day / 36524) - math.floor(day / 146096)) / 365)
  local of_year = day - (365 * year + math.floor(year / 4) - math.floor(year / 100))
  local from_march = math.floor((5 * of_year + 2) / 153)
  local month = from_march < 10 and from_march + 3 or from_march - 9
  return (year + era * 400 + (month <= 2 and 1 or 0)) * 100 + month
end

local names = {'next', 'not_before', 'rate', 'last_429', 'step_at', 'month', 'used', 'ended'}
local s = {}
for place, found in ipairs(redis.call('HMGET', KEYS[1], unpack(names))) do
  s[names[place]] = tonumber(found or '')
end

-- Nothing known: the first use, or this server forgot. Tokens that were given out before may still be sent.
s.next = s.next or now + HOLD
s.not_before = s.not_before or 0
s.rate = math.min(s.rate or full, full)
s.used = s.used or 0
local month = month_of(clock[1])
if s.month ~= month then
  s.month, s.used = month, 0
end

-- What 429s have taught is given back by a hundredth every ten seconds.
if s.step_at and now >= s.step_at then
  local steps = 1 + math.floor((now - s.step_at) / STEP)
  s.rate = math.min(full, s.rate + steps * full / 100)
  s.step_at = s.step_at + steps * STEP
end
if s.rate >= full then
  s.step_at = nil
end

local function interval()
  return math.ceil(1000000 / s.rate)
end

local wait, good, token = 0, 0, 0
if command == 'take' or command == 'acquire_after_outage' then
  local burst = s.rate < full and 1 or most
  local each = interval()
  local burst_depth = (burst - 1) * each
  if command == 'acquire_after_outage' then  -- requests were sent that this server does not know of
    s.next = math.max(s.next, now + each)
  end
  if s.ended == month then
    wait, token = -1, month
  else
    local free = math.max(s.next, now - burst_depth)
    local slot = math.max(now, free + math.floor((1 - share) * burst * each), s.not_before)
    free = math.max(free, slot - burst_depth)
    wait, good = slot - now, free + burst_depth - slot
    s.next = free + each
    token = s.next
    s.used = s.used + 1
  end
elseif command == 'release' then
  if s.next == value then  -- nobody took one after it
    s.next = s.next - interval()
    s.used = math.max(0, s.used - 1)
    good = 1
  end
elseif command == 'pause' then
  if now >= s.not_before then  -- else the 429 belongs to the trouble that began the pause
    if s.last_429 and now - s.last_429 < MEMORY then
      s.rate = math.max(s.rate * 0.9, full / 10)
      s.step_at = now + STEP
    end
    s.last_429 = now
  end
  s.not_before = math.max(s.not_before, now + value)
  s.next = math.max(s.next, now + interval())
elseif command == 'used' then
  s.used = math.max(s.used, value)
elseif command == 'quota_exhausted' then
  s.ended = value  -- which one is named by who heard of its end: a new one may have begun since
end

local fields, gone = {}, {}
for _, name in ipairs(names) do
  if s[name] then
    fields[#fields + 1], fields[#fields + 2] = name, s[name]
  else
    gone[#gone + 1] = name
  end
end
redis.call('HSET', KEYS[1], unpack(fields))
if #gone > 0 then
  redis.call('HDEL', KEYS[1], unpack(gone))
end
redis.call('EXPIRE', KEYS[1], KEPT_FOR)
return {wait, good, token, s.used}
