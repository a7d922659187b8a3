-- SPDX-License-Identifier: Apache-2.0
-- Who has the records. Made by the first who opens them, with an id that is never seen again; taken from
-- one who has not been heard of for a while, or who has ended: he was at the same place, or the caller knows.
-- KEYS[1]: PREFIX .. "meta"; ARGV: what to do, the format that the caller writes, a fresh id, the caller's
-- place, his name ("PLACE:…"), milliseconds of silence, the owner that has ended, and the id that these records
-- had when the caller saw them first ('': none, not yet).
local op, format, fresh, place, owner, silence, ended, id = unpack(ARGV)
local meta, call = KEYS[1], redis.call
local heard = string.sub(meta, 1, -5) .. 'heard'

if op == 'leave' then
	if call('HGET', meta, 'owner') == owner then
		call('DEL', heard)
	end
	return 'OK'
elseif op == 'stay' then
	if call('EXISTS', meta) == 0 then
		return 'GONE'
	elseif call('HGET', meta, 'owner') ~= owner then
		return 'TAKEN'
	end
	call('SET', heard, owner, 'PX', silence)
	return 'OK'
end

if id ~= '' and call('HGET', meta, 'id') ~= id then
	return 'GONE'
elseif call('EXISTS', meta) == 0 then
	call('HSET', meta, 'format', format, 'id', fresh, 'number', '0', 'changes', '0')
end
local now = call('HMGET', meta, 'format', 'id', 'changes', 'owner')
if now[1] ~= format then
	return { 'FORMAT', now[1] or '' }
end
local other = now[4] and call('GET', heard)
if other and other ~= owner and other ~= ended and string.match(other, '^(%x+):') ~= place then
	return { 'BUSY', other, now[2] or '' }
end
-- A lost answer is asked for again: that is no other term.
local term = now[4] == owner and call('HGET', meta, 'term') or call('HINCRBY', meta, 'term', 1)
call('HSET', meta, 'owner', owner)
call('SET', heard, owner, 'PX', silence)
return { 'OK', now[2] or '', now[3] or '', tostring(term) }
