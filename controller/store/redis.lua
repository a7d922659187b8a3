-- SPDX-License-Identifier: Apache-2.0
-- What changes a store of objects. An object is a string under its name; the names of a store are a sorted set, and
-- the stores of a prefix are another, so that both are listed in order and as they are. A connection that
-- lost the answer of a change asks again with the same number, and is told what came of it; what was on its
-- way so long that the caller has gone on is not done.
-- KEYS: what came of the caller's last change; all stores; the names of this one; the object; another.
-- ARGV: number of the change, what to do, which store, name of the object, a number, bytes, the last change that was
-- acknowledged: when it is not known here any more, what it did is not here either, and nothing is done.
local done, stores, names, object, other = unpack(KEYS)
local turn, op, below, name, number, data, known = unpack(ARGV)
local call, ops = redis.call, {}

local function enter()
	call('ZADD', names, 0, name)
	call('ZADD', stores, 0, below)
	return 'OK'
end

function ops.create()
	return call('SET', object, data, 'NX') and enter() or 'EXIST'
end

-- Of an object that comes in pieces: the next one, at that place. Whoever began it may have gone for ever.
function ops.piece()
	if number == '0' then
		call('UNLINK', other)
	end
	if call('STRLEN', other) ~= tonumber(number) then
		return 'LOST'
	end
	call('APPEND', other, data)
	call('EXPIRE', other, 3600)
	return 'OK'
end

-- All its pieces are there: now it is an object, at once.
function ops.commit()
	if call('STRLEN', other) ~= tonumber(number) then
		return 'LOST'
	elseif call('RENAMENX', other, object) == 0 then
		call('UNLINK', other)
		return 'EXIST'
	end
	call('PERSIST', object)
	return enter()
end

-- That of another store becomes ours, too.
function ops.share()
	if call('EXISTS', object) == 1 then
		return 'EXIST'
	end
	return call('COPY', other, object) == 1 and enter() or 'NOENT'
end

function ops.drop()
	call('UNLINK', object)
	call('ZREM', names, name)
	if call('EXISTS', names) == 0 then
		call('ZREM', stores, below)
	end
	return 'OK'
end

-- An object that came in pieces does not become one.
function ops.abandon()
	call('UNLINK', other)
	return 'OK'
end

local n, told = string.match(call('GET', done) or '', '^(%d+) (.*)$')
if n == turn then
	return told
elseif tonumber(n or 0) > tonumber(turn) then
	return 'LATE'
elseif tonumber(n or 0) < tonumber(known) then
	return 'GONE'
end
local text = ops[op]()
call('SET', done, turn .. ' ' .. text, 'EX', 3600)
return text
