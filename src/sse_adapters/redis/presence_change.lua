-- Applies one change of who is connected to a node: these connections are gone, those are new or have other groups.
-- Without a lease of the same incarnation nothing is done; see presence_renew.lua, which tells the node.
--
-- A change may come late: who sends it stops waiting after some seconds, and sends the next one, while the first may
-- still be in a buffer of the network or of this server. Applied then it would bring back connections that have gone,
-- and their node would keep them alive. So a change whose number is not above the last one's is not applied. Those of a
-- node that waits for its answers come in order.
--
-- The index has these entries for a connection, which answer every question by a range of bytes. Names hold no control
-- characters, so \0 ends them, and any that begins with the same name and goes on is beyond \1. `since` is when it was
-- opened, as many digits for any, so that they sort by time.
--   t <since> <connection id>                  all connections, the oldest first
--   u\0 <user> \0 <since> <connection id>      a user's connections, the oldest first
--   g\0 <group> \0c\0 <client> \0 <connection id>    a group's clients by name
--   g\0 <group> \0u\0 <user> \0 <connection id>      and its users
-- What entries a connection has follows from what is kept of it, so that is where the old ones are taken from.
--
-- KEYS: clients, index
-- ARGV: incarnation, number, how many are gone, their connection ids, then of each of the others its connection id and
-- what to keep. No connection id comes twice.

local clients, index = KEYS[1], KEYS[2]
local last_gone = 3 + tonumber(ARGV[3])

local said = redis.call('HMGET', clients, '\0incarnation', '\0number')
if said[1] ~= ARGV[1] or tonumber(said[2]) >= tonumber(ARGV[2]) or redis.call('EXISTS', index) == 0 then
    return
end

-- Calls once for many, as far as the stack goes.
local AT_ONCE = 1000
local function call(command, key, arguments)
    for first = 1, #arguments, AT_ONCE do
        redis.call(command, key, unpack(arguments, first, math.min(first + AT_ONCE - 1, #arguments)))
    end
end

local function each_entry(connection, kept, take)
    local client, user, groups, since = unpack(cmsgpack.unpack(kept), 1, 4)
    take('t' .. since .. connection)
    if user then
        take('u\0' .. user .. '\0' .. since .. connection)
    end
    for _, group in ipairs(groups) do
        local prefix = 'g\0' .. group .. '\0'
        take(prefix .. 'c\0' .. client .. '\0' .. connection)
        if user then
            take(prefix .. 'u\0' .. user .. '\0' .. connection)
        end
    end
end

local new_entries, old_entries = {}, {}
local function take_new(entry)
    new_entries[#new_entries + 1] = 0 -- its score
    new_entries[#new_entries + 1] = entry
end
local function take_old(entry)
    old_entries[#old_entries + 1] = entry
end

local gone, fields = {}, { '\0number', ARGV[2] }
for at = 4, last_gone do
    gone[#gone + 1] = ARGV[at]
    local old = redis.call('HGET', clients, ARGV[at])
    if old then
        each_entry(ARGV[at], old, take_old)
    end
end
for at = last_gone + 1, #ARGV, 2 do
    local connection, kept = ARGV[at], ARGV[at + 1]
    local old = redis.call('HGET', clients, connection)
    if old ~= kept then
        if old then
            each_entry(connection, old, take_old)
        end
        each_entry(connection, kept, take_new)
        fields[#fields + 1] = connection
        fields[#fields + 1] = kept
    end
end

call('ZREM', index, old_entries)
call('ZADD', index, new_entries)
call('HDEL', clients, gone)
call('HSET', clients, fields)
