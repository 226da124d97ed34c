-- How many connections each user has to some nodes together. In one script, for it is one look-up a user and node.
--
-- KEYS: the index of each node, as presence_change.lua makes it
-- ARGV: user ids
-- Returns a number for each user.

local counts = {}
for at, user in ipairs(ARGV) do
    local first, beyond = '[u\0' .. user .. '\0', '(u\0' .. user .. '\1'
    local count = 0
    for _, index in ipairs(KEYS) do
        count = count + redis.call('ZLEXCOUNT', index, first, beyond)
    end
    counts[at] = count
end
return counts
