-- What all processes together hold of one budget: credits charged, and credits that calls under way may still charge.
--
-- Each process states its own total, whole and numbered, so that an answer that is lost, a statement that comes late and
-- a server that forgot are all mended by the next one. What processes that ended had spent is kept in one sum.
--
-- KEYS[1] holds all of it. ARGV: the process, the number of this statement, its total, and what to do: 'claim' is refused
-- where it would pass the most, which comes last; 'state' is not; 'end' closes what the process has stated.
-- The answer: whether it was taken, and what all processes hold now.
local KEPT_FOR = 400 * 86400
local process, number, total, command, most = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])

-- The total in what is kept; an older version could leave one below zero, which counts as none.
local function amount_in(kept)
  return math.max(0, tonumber(string.match(kept, '(-?%d+)$')) or 0)
end

local others, own, stated = 0, 0, -1
local held = redis.call('HGETALL', KEYS[1])
for place = 1, #held, 2 do
  if held[place] == process then
    stated, own = tonumber(string.match(held[place + 1], '^%d+')), amount_in(held[place + 1])
  else
    others = others + amount_in(held[place + 1])
  end
end

if number <= stated or (command == 'claim' and others + total > most) or (command == 'end' and stated < 0) then
  return {0, others + own}
end
if command == 'end' then
  redis.call('HDEL', KEYS[1], process)
  redis.call('HINCRBY', KEYS[1], 'ended', total)
else
  redis.call('HSET', KEYS[1], process, string.format('%d %d', number, total))
end
redis.call('EXPIRE', KEYS[1], KEPT_FOR)
return {1, others + total}
