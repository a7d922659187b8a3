-- SPDX-License-Identifier: Apache-2.0
-- Items: item:KIND has them by id, as "VERSION BODY"; items:KIND the ids in order.
local items, order = prefix .. 'item:' .. ARGV[6], prefix .. 'items:' .. ARGV[6]

function ops.put()
	local version, item, text = unpack(ARGV, 7, 9)
	local there = call('HGET', items, item)

	if version == '0' and there then
		return 'EXIST'
	elseif version ~= '0' and (not there or version_of(there) ~= version) then
		return 'STALE'
	end
	call('HSET', items, item, text)
	call('ZADD', order, 0, item)
	return 'OK'
end

-- Id, text, id, text …
function ops.list()
	local from, most = ARGV[7], ARGV[8]
	local found, all = call('ZRANGEBYLEX', order, from, '+', 'LIMIT', 0, most), { 'OK' }
	local texts = values(items, found, {})

	for i = 1, #found do
		all[#all + 1] = found[i]
		all[#all + 1] = texts[i]
	end
	return all
end

function ops.delete()
	local item = ARGV[7]

	if call('HDEL', items, item) == 0 then
		return 'NOENT'
	end
	call('ZREM', order, item)
	return 'OK'
end
