-- SPDX-License-Identifier: Apache-2.0
-- Before each of the others; run.lua is behind it. One call is one change, whole or not at all.
-- KEYS[1] is PREFIX .. "meta": all our keys have its hash tag. ARGV: the id of these records, the service
-- that has them, the connection and which of its changes it is ("" and 0: it only reads), what to do;
-- from ARGV[6] on what that takes. Numbers are below 2^53, or digits of one width: texts of digits
-- are in order in every locale, other texts are not.
local prefix = string.sub(KEYS[1], 1, -5)
local call = redis.call
local ops = {}
local CHUNK = 1000 -- fields of one call: the stack of Lua has an end

local function digits(number)
	return string.format('%.0f', number)
end

local function wide(number)
	return string.format('%020.0f', number)
end

-- The values of many fields behind what there is in `to`.
local function values(key, fields, to)
	for i = 1, #fields, CHUNK do
		local some = call('HMGET', key, unpack(fields, i, math.min(i + CHUNK - 1, #fields)))
		for k = 1, #some do
			to[#to + 1] = some[k] or ''
		end
	end
	return to
end

local function take_out(key, fields)
	for i = 1, #fields, CHUNK do
		call('HDEL', key, unpack(fields, i, math.min(i + CHUNK - 1, #fields)))
	end
end

-- A record begins with its version.
local function version_of(record)
	return string.match(record, '^%d+')
end
