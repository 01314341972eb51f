-- The credits of one budget that all processes have spent or reserved.
--
-- Each process reports its own total with a sequence number, and reports with an older number are refused. A lost
-- response, a late report and a loss of data are therefore corrected by the next report. The totals of processes that
-- ended are kept in one sum.
--
-- KEYS[1] is the hash with the totals. ARGV: process, sequence number, total, command, limit. The command 'reserve' is
-- refused if the total of all processes would exceed the limit, 'report' is not, and 'end' moves the total of the
-- process to the sum of ended processes.
-- Response: 1 if the total was accepted, the total of all processes.
local EXPIRY = 400 * 86400
local process, sequence, total = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3])
local command, limit = ARGV[4], tonumber(ARGV[5])

-- The total in a stored value. Invalid and negative totals count as 0.
local function total_in(stored)
  return math.max(0, tonumber(string.match(stored, '(-?%d+)$')) or 0)
end

local others, own, last_sequence = 0, 0, -1
local entries = redis.call('HGETALL', KEYS[1])
for index = 1, #entries, 2 do
  if entries[index] == process then
    last_sequence, own = tonumber(string.match(entries[index + 1], '^%d+')), total_in(entries[index + 1])
  else
    others = others + total_in(entries[index + 1])
  end
end

if sequence <= last_sequence
  or (command == 'reserve' and others + total > limit)
  or (command == 'end' and last_sequence < 0) then
  return {0, others + own}
end
if command == 'end' then
  redis.call('HDEL', KEYS[1], process)
  redis.call('HINCRBY', KEYS[1], 'ended', total)
else
  redis.call('HSET', KEYS[1], process, string.format('%d %d', sequence, total))
end
redis.call('EXPIRE', KEYS[1], EXPIRY)
return {1, others + total}
