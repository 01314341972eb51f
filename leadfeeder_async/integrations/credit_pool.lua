-- The credits of one budget that all processes have spent or reserved.
--
-- Each process reports its own total with a sequence number, and keeps a copy of all totals. The record of the totals
-- has an epoch. If the record is missing, if the server may have loaded older data, or if a process restores credits
-- that the record lacks, an unknown part of the totals may be lost, so a new epoch begins. In a new epoch, no command is
-- applied until its process has restored its copy, and nothing can be reserved until all running processes had the time
-- to do so. The processes measure this time, because the clock of the server can be changed.
--
-- KEYS[1] is the hash with the totals. Fields that begin with '#' describe the record: the epoch, the server, and 1 if
-- the record is open, which means that credits can be reserved. Each other field is a process with its sequence number
-- and total, or the processes that ended in one epoch with their number and sum. Of two values, the one with the higher
-- number is the newer one.
--
-- ARGV: command, process, sequence number, total, limit, the epoch as the process knows it, 1 if the process has known
-- it long enough to open the record, a name for a new epoch, then the fields and values to restore.
-- Commands: 'reserve' is refused if the total of all processes would exceed the limit. 'report' has no limit. 'end'
-- moves the total of the process to the sum of ended processes. 'restore' adds the values that are missing or older.
-- Response: JSON with accepted, spent (of all processes), epoch, is_open and totals (field to number and total). If the
-- run ID of the server cannot be read, nothing is read or written, because the script cannot tell if older data was
-- loaded. The response is then JSON with only run_id_error.
local EXPIRY = 400 * 86400
local command, process, sequence, total = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local limit, known_epoch, has_waited, new_epoch = tonumber(ARGV[5]), ARGV[6], ARGV[7] == '1', ARGV[8]

-- The identity of the data. The run ID changes with a restart and a failover. The replication ID changes if the server
-- was a replica in between, and has loaded the data of another one.
local info = redis.pcall('INFO', 'server')
local run_id = type(info) == 'string' and string.match(info, 'run_id:(%w+)')
if not run_id then
  local reason = type(info) == 'table' and info['err'] or 'the response contains no run_id'
  return cjson.encode({run_id_error = reason})
end
local server = run_id .. ' ' .. (string.match(redis.call('INFO', 'replication'), 'master_replid:(%w+)') or '')

-- The number and the total in a stored value. Invalid and negative totals count as 0.
local function numbers_in(value)
  local number = tonumber(string.match(value, '^%d+')) or -1
  return {number, math.max(0, tonumber(string.match(value, '(-?%d+)$')) or 0)}
end

local record, totals = {}, {}
local stored = redis.call('HGETALL', KEYS[1])
for index = 1, #stored, 2 do
  local field, value = stored[index], stored[index + 1]
  if string.sub(field, 1, 1) == '#' then
    record[field] = value
  else
    totals[field] = numbers_in(value)
  end
end

local function set(field, number, credits)
  redis.call('HSET', KEYS[1], field, string.format('%d %d', number, credits))
  totals[field] = {number, credits}
end

local epoch, is_open = record['#epoch'], record['#open'] == '1'
local function begin_epoch()
  epoch, is_open = new_epoch, false
  redis.call('HSET', KEYS[1], '#epoch', epoch, '#server', server, '#open', 0)
end

if not epoch or record['#server'] ~= server then
  begin_epoch()
elseif has_waited and epoch == known_epoch and not is_open then
  is_open = true
  redis.call('HSET', KEYS[1], '#open', 1)
end

if command == 'restore' then
  local was_lost = false
  for index = 9, #ARGV, 2 do
    local field, value = ARGV[index], numbers_in(ARGV[index + 1])
    local old = totals[field] or {-1, 0}
    if value[1] > old[1] or (value[1] == old[1] and value[2] > old[2]) then
      set(field, value[1], value[2])
      was_lost = was_lost or value[2] > old[2]
    end
  end
  if was_lost and is_open then  -- other processes may know more lost totals
    begin_epoch()
  end
end

local own = totals[process] or {-1, 0}
local spent = 0
for _, value in pairs(totals) do
  spent = spent + value[2]
end
local after = spent - own[2] + total

local accepted = command ~= 'restore'
  and epoch == known_epoch
  and (sequence > own[1] or (sequence == own[1] and total == own[2])) -- clients repeat commands after a lost reply
  and not (command == 'reserve' and (after > limit or not is_open))
  and not (command == 'end' and not totals[process])
if accepted then
  if command == 'end' then
    local field = 'ended:' .. epoch
    local ended = totals[field] or {0, 0}
    redis.call('HDEL', KEYS[1], process)
    totals[process] = nil
    set(field, ended[1] + 1, ended[2] + total)
  else
    set(process, sequence, total)
  end
  spent = after
end
redis.call('EXPIRE', KEYS[1], EXPIRY)
return cjson.encode({accepted = accepted, spent = spent, epoch = epoch, is_open = is_open, totals = totals})
