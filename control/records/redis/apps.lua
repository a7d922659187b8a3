-- SPDX-License-Identifier: Apache-2.0
-- Applications: app has the records by "TENANT\0NAME", apps the same names in order, app:id the
-- name of each id.
local records, names, ids = prefix .. 'app', prefix .. 'apps', prefix .. 'app:id'

function ops.put()
	local version, name, app, record, most = unpack(ARGV, 6, 10)
	local there = call('HGET', records, name)

	if version ~= '0' then
		if not there or version_of(there) ~= version or call('HGET', ids, app) ~= name then
			return 'STALE'
		end
	elseif there or call('HEXISTS', ids, app) == 1 then
		return 'EXIST'
	elseif call('HLEN', records) >= tonumber(most) then
		return 'NOSPC'
	else
		call('HSET', ids, app, name)
		call('ZADD', names, 0, name)
	end
	call('HSET', records, name, record)
	return 'OK'
end

function ops.get()
	return { 'OK', call('HGET', records, ARGV[6]) }
end

-- Those between two bounds, in order.
function ops.list()
	local from, to, most = unpack(ARGV, 6, 8)

	return values(records, call('ZRANGEBYLEX', names, from, to, 'LIMIT', 0, most), { 'OK' })
end

function ops.delete()
	local app = ARGV[6]
	local name = call('HGET', ids, app)

	if not name then
		return 'NOENT'
	elseif call('EXISTS', prefix .. 'of:' .. app) == 1 then
		return 'NOTEMPTY'
	end
	call('HDEL', records, name)
	call('HDEL', ids, app)
	call('ZREM', names, name)
	return 'OK'
end
