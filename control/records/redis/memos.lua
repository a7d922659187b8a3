-- SPDX-License-Identifier: Apache-2.0
-- Memos: memo has, by id, when one was made, its status, the bytes of its answer, run, tenant, request;
-- memo:answer the answers that are not empty; memos the ids in the order of their making.
local memos, answers, order = prefix .. 'memo', prefix .. 'memo:answer', prefix .. 'memos'

local function forget(memo, text)
	call('ZREM', order, string.match(text, '^%d+') .. memo)
	call('HDEL', answers, memo)
	call('HDEL', memos, memo)
end

local function keep(memo, text, answer)
	call('HSET', memos, memo, text)
	call('ZADD', order, 0, string.match(text, '^%d+') .. memo)
	if answer ~= '' then
		call('HSET', answers, memo, answer)
	end
end

function ops.put()
	local memo, text, answer = unpack(ARGV, 6, 8)

	if call('HEXISTS', memos, memo) == 1 then
		return 'EXIST'
	end
	keep(memo, text, answer)
	return 'OK'
end

-- Only what that run began, and of that tenant.
function ops.set()
	local memo, text, answer, run = unpack(ARGV, 6, 9)
	local there = call('HGET', memos, memo)
	local its_run, its_tenant = string.match(there or '', '^%d+ %d+ %d+ (%x+) (%S+) ')

	if its_run ~= run or its_tenant ~= string.match(text, '^%d+ %d+ %d+ %x+ (%S+) ') then
		return 'STALE'
	end
	forget(memo, there)
	keep(memo, text, answer)
	return 'OK'
end

function ops.get()
	local memo = ARGV[6]

	return { 'OK', call('HGET', memos, memo), call('HGET', answers, memo) or '' }
end

function ops.delete()
	local memo = ARGV[6]
	local there = call('HGET', memos, memo)

	if not there then
		return 'NOENT'
	end
	forget(memo, there)
	return 'OK'
end

-- Those made before then; some at a time.
function ops.expire()
	local before, some = ARGV[6], ARGV[7]
	local members = call('ZRANGEBYLEX', order, '-', '(' .. before, 'LIMIT', 0, some)

	for _, member in ipairs(members) do
		local memo = string.sub(member, 21)

		call('HDEL', answers, memo)
		call('HDEL', memos, memo)
		call('ZREM', order, member)
	end
	return 'OK ' .. #members
end

-- What is said of those behind a place, in order, and the place of the last.
function ops.heads()
	local from, most = ARGV[6], ARGV[7]
	local found, all = {}, { 'OK', '' }

	for i, member in ipairs(call('ZRANGEBYLEX', order, from, '+', 'LIMIT', 0, most)) do
		all[2] = member
		found[i] = string.sub(member, 21)
	end
	return values(memos, found, all)
end
