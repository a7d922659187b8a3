-- SPDX-License-Identifier: Apache-2.0
-- Processes: process has the records by number, processes the numbers in order, of:APP the names of an
-- application in order, each as "NAME\0NUMBER". A record begins with version, state, number,
-- application, name. Usage: usage has the rows; usage:ends and usage:fine their ids in the order of
-- their ends, the latter of those that are not folded.
local records, numbers = prefix .. 'process', prefix .. 'processes'
local usage, ends, fine = prefix .. 'usage', prefix .. 'usage:ends', prefix .. 'usage:fine'

local function parts(record)
	return string.match(record, '^(%d+) (%d+) (%d+) (%x+) (%S+) ')
end

local function member_of(app, name)
	return call('ZRANGEBYLEX', prefix .. 'of:' .. app, '[' .. name .. '\0', '(' .. name .. '\1',
		'LIMIT', 0, 1)[1]
end

local function create(number, app, name, most)
	local of = prefix .. 'of:' .. app

	if call('HEXISTS', prefix .. 'app:id', app) == 0 then
		return 'NOENT'
	elseif member_of(app, name) or call('HEXISTS', records, number) == 1 then
		return 'EXIST'
	elseif call('ZCARD', of) >= tonumber(most) then
		return 'NOSPC'
	end
	call('ZADD', of, 0, name .. '\0' .. number)
	call('ZADD', numbers, number, number)
	if tonumber(call('HGET', KEYS[1], 'number')) < tonumber(number) then
		call('HSET', KEYS[1], 'number', number)
	end
	return 'OK'
end

function ops.put()
	local version, number, app, name, record, most = unpack(ARGV, 6, 11)
	local status = 'OK'

	if version == '0' then
		status = create(number, app, name, most)
	else
		local there = call('HGET', records, number)
		local v, _, _, its_app, its_name = parts(there or '')

		if v ~= version or its_app ~= app or its_name ~= name then
			status = 'STALE'
		end
	end
	if status == 'OK' then
		call('HSET', records, number, record)
	end
	return status
end

-- The same of one that is there, and a row of usage; both or neither.
function ops.used()
	local ends_at, row = ARGV[12], ARGV[13]
	local status = ops.put()

	if status == 'OK' then
		local id = wide(call('HINCRBY', KEYS[1], 'row', 1))

		call('HSET', usage, id, row)
		call('ZADD', ends, 0, ends_at .. id)
		call('ZADD', fine, 0, ends_at .. id)
	end
	return status
end

function ops.get()
	return { 'OK', call('HGET', records, ARGV[6]) }
end

function ops.find()
	local member = member_of(ARGV[6], ARGV[7])

	return { 'OK', member and call('HGET', records, string.match(member, '%z(%d+)$')) or false }
end

function ops.list()
	local from, most = ARGV[6], ARGV[7]

	return values(records, call('ZRANGEBYSCORE', numbers, from, '+inf', 'LIMIT', 0, most), { 'OK' })
end

function ops.list_of()
	local app, from, most = unpack(ARGV, 6, 8)
	local found = {}

	for i, member in ipairs(call('ZRANGEBYLEX', prefix .. 'of:' .. app, from, '+', 'LIMIT', 0, most)) do
		found[i] = string.match(member, '%z(%d+)$')
	end
	return values(records, found, { 'OK' })
end

function ops.delete()
	local number = ARGV[6]
	local _, _, _, app, name = parts(call('HGET', records, number) or '')
	local queue = prefix .. 'queue:' .. number

	if not app then
		return 'NOENT'
	end
	call('HDEL', records, number)
	call('ZREM', numbers, number)
	call('ZREM', prefix .. 'of:' .. app, name .. '\0' .. number)
	call('UNLINK', queue, queue .. ':head', queue .. ':data', queue .. ':place')
	return 'OK'
end

-- Numbers that nobody has: so many, up to the one that is returned.
function ops.numbers()
	return 'OK ' .. digits(call('HINCRBY', KEYS[1], 'number', ARGV[6]))
end

-- Those up to `last` were not used, if nobody has taken any since.
function ops.give_back()
	local last, unused_from = ARGV[6], ARGV[7]

	if call('HGET', KEYS[1], 'number') == last then
		call('HSET', KEYS[1], 'number', unused_from)
	end
	return 'OK'
end

-- What a report needs of all processes, as of one moment, a line each; and the last row until then.
function ops.census()
	local tenants, lines = call('HGETALL', prefix .. 'app:id'), {}
	local app_of = {}

	for i = 1, #tenants, 2 do
		app_of[tenants[i]] = string.gsub(tenants[i + 1], '%z', ' ')
	end
	for _, number in ipairs(call('ZRANGE', numbers, 0, -1)) do
		local record = call('HGET', records, number) or ''
		local _, _, _, app, name, rest =
			string.match(record, '^(%d+) (%d+) (%d+) (%x+) (%S+) (%d+ %d+ %-?%d+ %d+) ')
		local _, state = parts(record)

		lines[#lines + 1] = string.format('%s %s %s %s %s', number, app_of[app] or '?',
			name or '?', state or '?', rest or '?')
	end
	return { 'OK', call('HGET', KEYS[1], 'row') or '0', table.concat(lines, '\n') }
end

-- Rows whose ends come behind one, in order: the place of the last; place, row, place, row …
function ops.rows()
	local from, most = ARGV[6], ARGV[7]
	local places = call('ZRANGEBYLEX', ends, from, '+', 'LIMIT', 0, most)
	local found, all = {}, { 'OK', places[#places] or '' }

	for i, place in ipairs(places) do
		found[i] = string.sub(place, 21)
	end
	local rows = values(usage, found, {})
	for i, place in ipairs(places) do
		all[#all + 1] = place
		all[#all + 1] = rows[i]
	end
	return all
end

-- The end of the oldest row that is not folded.
function ops.oldest()
	local first = call('ZRANGE', fine, 0, 0)[1]

	return { 'OK', first and string.sub(first, 1, 20) or false }
end

-- From, to, flag, number, tenant, application, name; then what was used.
local WORDS = 14

local function words_of(row)
	local words = {}

	for word in string.gmatch(row, '%S+') do
		words[#words + 1] = word
	end
	return #words == WORDS and words
end

local function add(to, more)
	local most = 2 ^ 53

	if more[1] < to[1] then
		to[1] = more[1]
	end
	if more[2] > to[2] then
		to[2] = more[2]
	end
	for i = 8, 12 do
		to[i] = digits(math.min(tonumber(to[i]) + tonumber(more[i]), most))
	end
	for i = 13, 14 do
		to[i] = string.format('%.17g', tonumber(to[i]) + tonumber(more[i]))
	end
end

-- Rows that end in one day become one of that day for each process; some at a time. All is read before
-- anything is written.
function ops.fold()
	local from, to, some = unpack(ARGV, 6, 8)
	local members = call('ZRANGEBYLEX', fine, '[' .. from, '(' .. to, 'LIMIT', 0, some)
	local days, old_ends = {}, {}

	for _, member in ipairs(members) do
		local words = words_of(call('HGET', usage, string.sub(member, 21)) or '')
		local day = words and 'd' .. from .. wide(tonumber(words[4]))
		local before = words and not days[day] and call('HGET', usage, day)

		if before then
			days[day] = words_of(before)
			old_ends[#old_ends + 1] = days[day] and days[day][2] .. day
		end
		if not words or (before and not days[day]) then
			return 'DAMAGED ' .. string.sub(member, 21)
		elseif days[day] then
			add(days[day], words)
		else
			days[day] = words
		end
	end
	for _, member in ipairs(old_ends) do
		call('ZREM', ends, member)
	end
	for day, words in pairs(days) do
		words[3] = '1'
		call('HSET', usage, day, table.concat(words, ' '))
		call('ZADD', ends, 0, words[2] .. day)
	end
	for _, member in ipairs(members) do
		call('HDEL', usage, string.sub(member, 21))
		call('ZREM', ends, member)
		call('ZREM', fine, member)
	end
	return 'OK ' .. #members
end

-- Rows that end before then go; some at a time.
function ops.expire()
	local before, some = ARGV[6], ARGV[7]
	local members = call('ZRANGEBYLEX', ends, '-', '(' .. before, 'LIMIT', 0, some)

	for _, member in ipairs(members) do
		call('HDEL', usage, string.sub(member, 21))
		call('ZREM', ends, member)
		call('ZREM', fine, member)
	end
	return 'OK ' .. #members
end
