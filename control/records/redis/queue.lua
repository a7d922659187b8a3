-- SPDX-License-Identifier: Apache-2.0
-- The backup queue of a process. Positions have no gaps, so hashes by index are what an array is: a
-- range is read and trimmed without a search, and the bytes are told without the data. A queue that is
-- lifted keeps its indexes: position = index + shift.
-- queue:N has tail, trimmed, bytes, shift; :head of each what is said of it, :data its key and
-- payload; :place the last of each source's epoch that is there: its place and index.
local process = ARGV[6]
local queue = prefix .. 'queue:' .. process
local heads, datas, places = queue .. ':head', queue .. ':data', queue .. ':place'

local q = call('HMGET', queue, 'tail', 'trimmed', 'bytes', 'shift')
local tail, trimmed = tonumber(q[1] or '0'), tonumber(q[2] or '0')
local bytes, shift = tonumber(q[3] or '0'), tonumber(q[4] or '0')

local function keep()
	call('HSET', queue, 'tail', digits(tail), 'trimmed', digits(trimmed), 'bytes', digits(bytes),
		'shift', digits(shift))
end

local function indexes(from, to)
	local all = {}

	for position = from, to do
		all[#all + 1] = digits(position - shift)
	end
	return all
end

local function state_of_process()
	return string.match(call('HGET', prefix .. 'process', process) or '', '^%d+ (%d+) ')
end

-- Of a head: source and epoch, number, bytes of key and payload together.
local function parts(head)
	local place, number, size = string.match(head, '^(%d+ %d+) (%d+) %d+ (%d+) ')

	return place, number, tonumber(size)
end

-- Messages, two arguments each, as many as there is room for.
function ops.append()
	local deleting, most_messages, most_bytes = ARGV[7], tonumber(ARGV[8]), tonumber(ARGV[9])
	local state = state_of_process()
	local taken = 0

	if not state or state == deleting then
		return 'NOENT 0 0'
	end
	for i = 10, #ARGV, 2 do
		local place, number, size = parts(ARGV[i])
		local last = call('HGET', places, place)

		if not last or string.sub(last, 1, 20) < number then
			if tail - trimmed >= most_messages or bytes + size > most_bytes then
				break
			end
			tail, bytes = tail + 1, bytes + size
			local index = digits(tail - shift)
			call('HSET', heads, index, ARGV[i])
			call('HSET', datas, index, ARGV[i + 1])
			call('HSET', places, place, number .. ' ' .. index)
		end
		taken = taken + 1
	end
	if taken > 0 then
		keep()
	end
	return (taken > 0 and 'OK ' or 'NOSPC ') .. taken .. ' ' .. digits(tail)
end

-- Tail, what is gone, the first position; head, data, head, data …
function ops.read()
	local after, most, most_bytes = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
	local from = math.max(after, trimmed) + 1
	local to = math.min(tail, from + most - 1)
	local all = { 'OK', digits(tail), digits(trimmed), digits(from) }
	local sum = 0

	if after ~= 0 and after < trimmed then
		return { 'STALE' }
	elseif from > to then
		return all
	end
	local index = indexes(from, to)
	local head = values(heads, index, {})
	local count = #head

	for i = 1, count do
		local _, _, size = parts(head[i])

		sum = sum + (size or 0)
		if i > 1 and sum > most_bytes then
			count = i - 1
			break
		end
	end
	local data = call('HMGET', datas, unpack(index, 1, count))
	for i = 1, count do
		all[#all + 1] = head[i]
		all[#all + 1] = data[i]
	end
	return all
end

function ops.state()
	return { 'OK', digits(tail), digits(trimmed), digits(bytes) }
end

-- All up to a position go; with all of them nothing is left to look at.
function ops.trim()
	local to = math.min(tonumber(ARGV[7]), tail)

	if to <= trimmed then
		return 'OK'
	elseif to == tail then
		call('UNLINK', heads, datas, places)
		bytes = 0
	else
		local gone = indexes(trimmed + 1, to)

		for _, head in ipairs(values(heads, gone, {})) do
			local place, _, size = parts(head)
			local last = place and call('HGET', places, place)
			bytes = bytes - (size or 0)
			if last and tonumber(string.sub(last, 22)) + shift <= to then
				call('HDEL', places, place)
			end
		end
		take_out(heads, gone)
		take_out(datas, gone)
	end
	trimmed = to
	keep()
	return 'OK'
end

-- What is there gets positions above one.
function ops.lift()
	local position = tonumber(ARGV[7])

	if not state_of_process() then
		return 'NOENT 0'
	end
	if position > tail then
		local by = position - trimmed

		tail, trimmed, shift = tail + by, position, shift + by
		keep()
	end
	return 'OK ' .. digits(tail)
end
