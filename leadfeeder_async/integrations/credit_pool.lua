-- The credits of one budget that all processes have spent or reserved.
--
-- Each process reports its own total with a sequence number, and keeps a copy of all totals. The record of the totals
-- has an epoch. If the record is missing, or another server process has loaded it, an unknown part of the totals may be
-- lost, so a new epoch begins. In a new epoch, no command is applied until its process has restored its copy, and
-- nothing can be reserved until all running processes had the time to do so.
--
-- KEYS[1] is the hash with the totals. Fields that begin with '#' describe the record: the epoch, the server process,
-- and the end of the time for restoring. Each other field is a process, or the sum of the processes that ended in one
-- epoch, with a sequence number and a total. Of two values, the one with the higher number is the newer one.
--
-- ARGV: command, process, sequence number, total, limit, the epoch as the process knows it, a name for a new epoch,
-- microseconds for restoring, then the fields and values to restore. 'reserve' is refused if the total of all processes
-- would exceed the limit, 'report' is not, 'end' moves the total of the process to the sum of ended processes, and
-- 'restore' adds the values that are missing or older.
-- Response: JSON with accepted, spent (of all processes), epoch, wait (microseconds until credits can be reserved) and
-- totals (field to value). If the run ID of the server cannot be read, nothing is read or written, because the script
-- cannot tell if older data was loaded. The response is then JSON with only run_id_error.
local EXPIRY = 400 * 86400
local command, process, sequence, total = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local limit, known_epoch, new_epoch, recovery = tonumber(ARGV[5]), ARGV[6], ARGV[7], tonumber(ARGV[8])

local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]

-- The identity of the server process. It changes with a restart and a failover, after which older data may be loaded.
local info = redis.pcall('INFO', 'server')
local server = type(info) == 'string' and string.match(info, 'run_id:(%w+)')
if not server then
  local reason = type(info) == 'table' and info['err'] or 'the response contains no run_id'
  return cjson.encode({run_id_error = reason})
end

-- The number and the total in a stored value. Invalid and negative totals count as 0.
local function numbers_in(stored)
  local number = tonumber(string.match(stored, '^%d+')) or -1
  return number, math.max(0, tonumber(string.match(stored, '(-?%d+)$')) or 0)
end

local record, totals = {}, {}
local stored = redis.call('HGETALL', KEYS[1])
for index = 1, #stored, 2 do
  local is_description = string.sub(stored[index], 1, 1) == '#'
  local target = is_description and record or totals
  target[stored[index]] = stored[index + 1]
end

local epoch = record['#epoch']
local restored_at = tonumber(record['#restored_at'] or '')
if not epoch or not restored_at or record['#server'] ~= server then
  epoch, restored_at = new_epoch, now + recovery
  redis.call('HSET', KEYS[1], '#epoch', epoch, '#server', server, '#restored_at', restored_at)
elseif restored_at > now + recovery then  -- the clock of the server was set back
  restored_at = now + recovery
  redis.call('HSET', KEYS[1], '#restored_at', restored_at)
end
local wait = math.max(0, restored_at - now)

local function set(field, value)
  redis.call('HSET', KEYS[1], field, value)
  totals[field] = value
end

if command == 'restore' then
  for index = 9, #ARGV, 2 do
    local field, value = ARGV[index], ARGV[index + 1]
    if not totals[field] or numbers_in(value) > numbers_in(totals[field]) then
      set(field, value)
    end
  end
end

local own_sequence, own = numbers_in(totals[process] or '')
local spent = 0
for _, value in pairs(totals) do
  local _, each = numbers_in(value)
  spent = spent + each
end
local after = spent - own + total

local accepted = 0
if command ~= 'restore'
  and epoch == known_epoch
  and sequence > own_sequence
  and not (command == 'reserve' and (after > limit or wait > 0))
  and not (command == 'end' and not totals[process])
then
  if command == 'end' then
    local ended = 'ended:' .. epoch
    local _, before = numbers_in(totals[ended] or '')
    redis.call('HDEL', KEYS[1], process)
    totals[process] = nil
    set(ended, string.format('%d %d', before + total, before + total))
  else
    set(process, string.format('%d %d', sequence, total))
  end
  accepted, spent = 1, after
end
redis.call('EXPIRE', KEYS[1], EXPIRY)
return cjson.encode({accepted = accepted, spent = spent, epoch = epoch, wait = wait, totals = totals})
