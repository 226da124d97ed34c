-- Begins, extends or ends the lease of a node.
--
-- What a node says of itself is in two keys. Both expire with its lease: nobody has to clear up after a dead node, and
-- only this server's clock counts.
--   clients  a hash: connection id -> who that is, in MessagePack. Fields that begin with \0 are about the node:
--            \0report, and what follows.
--   index    a sorted set without scores, so in the order of bytes; see presence_change.lua
-- A third key, the hub's, is the index of its nodes: a sorted set of their ids by the end of their lease. It only says
-- whose keys to look for.
--
-- A lease that stands is no proof that what was said under it is here. Keys are evicted when memory is short, a replica
-- that takes over lacks what was written last, a file that Redis is restarted from may be older than that, and another
-- process may have taken the node's id. So each adapter has an incarnation, drawn at random, and numbers what it says:
--   \0incarnation  whose lease it is
--   \0number       the last change that was applied
-- The adapter names the last number that it knows to have been applied. Unless it is here and both keys are, the node
-- begins anew with nothing, and is told so. `\0` in the index, which is in no range that is asked for, makes that a key
-- which exists also while nobody is connected.
--
-- KEYS: the index of nodes, clients, index
-- ARGV: node id, incarnation, number known to be applied, number last used, report, lease in milliseconds
-- Returns 1 if what the node had said before is here, else 0.

local nodes, clients, index = KEYS[1], KEYS[2], KEYS[3]
local node, incarnation, applied, used, report = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], ARGV[5]
local lease = tonumber(ARGV[6])

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', nodes, '-inf', now)

local said = redis.call('HMGET', clients, '\0incarnation', '\0number')
if lease <= 0 then
    if said[1] == incarnation then
        redis.call('UNLINK', clients, index)
        redis.call('ZREM', nodes, node)
    end
    return 0
end

local known = said[1] == incarnation and tonumber(said[2]) >= applied and redis.call('EXISTS', index) == 1
if not known then
    redis.call('UNLINK', clients, index)
    -- With the number last used: a change that is still on its way here belongs to what is to be said again.
    redis.call('HSET', clients, '\0incarnation', incarnation, '\0number', used)
    redis.call('ZADD', index, 0, '\0')
end

local ends = now + lease
redis.call('HSET', clients, '\0report', report)
redis.call('PEXPIREAT', clients, ends)
redis.call('PEXPIREAT', index, ends)
redis.call('ZADD', nodes, ends, node)
if redis.call('PTTL', nodes) < lease then
    redis.call('PEXPIREAT', nodes, ends)
end
return known and 1 or 0
