-- SPDX-License-Identifier: Apache-2.0
-- Behind each of the others: looks whether these are the records that the caller knows and has, and does
-- what is asked for. A connection that lost the answer of a change asks again with the same number, and
-- is told what came of it; what was on its way so long that the caller has gone on is not done.
local id, owner, caller, turn, op = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]

if call('HGET', KEYS[1], 'id') ~= id then
	return 'GONE'
elseif caller == '' then
	return ops[op]()
end

local done = prefix .. 'done:' .. caller
local last = call('GET', done)
if last then
	local n, text = string.match(last, '^(%d+) (.*)$')
	if tonumber(n) == turn then
		return text
	elseif tonumber(n) > turn then
		return 'LATE'
	end
end
if call('HGET', KEYS[1], 'owner') ~= owner then
	return 'TAKEN'
end
local text = ops[op]() .. ' ' .. digits(call('HINCRBY', KEYS[1], 'changes', 1))
call('SET', done, digits(turn) .. ' ' .. text, 'EX', 3600)
return text
