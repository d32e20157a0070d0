"""The Lua scripts: whatever must be atomic on one slot."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property


@dataclass(frozen=True)
class Script:
    """A script's text and the name by which Redis remembers it."""

    text: str

    @cached_property
    def sha(self) -> str:
        """SHA-1 of the text, which is Redis's own name for it."""
        return hashlib.sha1(self.text.encode(), usedforsecurity=False).hexdigest()


APPEND_EVENTS = Script("""
-- KEYS history, event ids
-- ARGV history limit, id limit, id ttl in s, now in ms, then per event: timestamp, digest, line
local history, ids = KEYS[1], KEYS[2]
local keep, id_keep, ttl, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local function moment(line) return tonumber(string.match(line, '^%d+')) or 0 end
local function insert(timestamp, line)
  local newest = redis.call('LINDEX', history, 0)
  if not newest or timestamp >= moment(newest) then return redis.call('LPUSH', history, line) end
  for _, other in ipairs(redis.call('LRANGE', history, 0, -1)) do
    if timestamp >= moment(other) then return redis.call('LINSERT', history, 'BEFORE', other, line) end
  end
  return redis.call('RPUSH', history, line)
end
redis.call('ZREMRANGEBYSCORE', ids, '-inf', now - ttl * 1000)
local stored = {}
for i = 5, #ARGV, 3 do
  local digest = ARGV[i + 1]
  if digest ~= '' and redis.call('ZSCORE', ids, digest) then
    stored[#stored + 1] = 0
  else
    insert(tonumber(ARGV[i]), ARGV[i + 2])
    -- Marked only after it is stored: a call that fails half-way may be repeated without loss.
    if digest ~= '' then redis.call('ZADD', ids, now, digest) end
    stored[#stored + 1] = 1
  end
end
redis.call('LTRIM', history, 0, keep - 1)
redis.call('ZREMRANGEBYRANK', ids, 0, -id_keep - 1)
redis.call('EXPIRE', ids, ttl)
return stored
""")
"""Keeps a history in time order, however late an event arrives; per event 1 = stored, 0 = duplicate."""

CHANGE_ITEMS = Script("""
-- KEYS records, order, stream, unseen, deleted
-- ARGV now in microseconds, entries to keep, then item, record per change
local top = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
-- At least the time: should Redis lose its data, new numbers still lie after every cursor handed out.
local number = math.max(tonumber(top[2] or '0'), tonumber(ARGV[1]))
if last then number = math.max(number, tonumber(string.match(last[1], '^%d+'))) end
for i = 3, #ARGV, 2 do
  number = number + 1
  local written = string.format('%.0f', number)
  if redis.call('HEXISTS', KEYS[1], ARGV[i]) == 0 then
    redis.call('ZADD', KEYS[4], math.floor(ARGV[1] / 1000), ARGV[i])
    redis.call('ZREMRANGEBYRANK', KEYS[4], 0, -ARGV[2] - 1)
  end
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[2], written, ARGV[i])
  if ARGV[i + 1] == 'null' then
    redis.call('ZADD', KEYS[5], math.floor(ARGV[1] / 1000), ARGV[i])
  else
    redis.call('ZREM', KEYS[5], ARGV[i])
  end
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[2], written .. '-0', 'item', ARGV[i], 'json', ARGV[i + 1])
end
return #ARGV
""")
"""Writes records, gives each the next change number and announces it."""

TAKE_UNSEEN = Script("""
-- KEYS unseen; ARGV items
local out = {}
for i = 1, #ARGV do
  out[i] = redis.call('ZSCORE', KEYS[1], ARGV[i]) or ''
  redis.call('ZREM', KEYS[1], ARGV[i])
end
return out
""")
"""When each item was first put, in ms; '' = it is not new, or was taken before."""

FORGET_DELETED = Script("""
-- KEYS records, order, deleted; ARGV latest moment of a deletion in ms, items
local forgotten = 0
for i = 2, #ARGV do
  local at = redis.call('ZSCORE', KEYS[3], ARGV[i])
  if at and tonumber(at) <= tonumber(ARGV[1]) then
    redis.call('HDEL', KEYS[1], ARGV[i])
    redis.call('ZREM', KEYS[2], ARGV[i])
    redis.call('ZREM', KEYS[3], ARGV[i])
    forgotten = forgotten + 1
  end
end
return forgotten
""")
"""Drops the marks of items that are still deleted, and were so by then; returns how many."""

READ_CHANGES = Script("""
-- KEYS order, records, stream; ARGV the number of the last change that the reader knows, limit
local after, out = tonumber(ARGV[1]), {}
local function number(entry) return tonumber(string.match(entry[1], '^%d+')) end
local first = redis.call('XRANGE', KEYS[3], '-', '+', 'COUNT', 1)[1]
local last = redis.call('XREVRANGE', KEYS[3], '+', '-', 'COUNT', 1)[1]
local top = tonumber(redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')[2] or '0')
-- The stream has all that the reader missed only if it still has what the reader knows; and only if nobody
-- wrote records without announcing them.
if first and number(first) <= after and number(last) >= top then
  local start = string.format('%.0f', after + 1)
  for _, entry in ipairs(redis.call('XRANGE', KEYS[3], start, '+', 'COUNT', ARGV[2])) do
    out[#out + 1] = string.match(entry[1], '^%d+')
    out[#out + 1] = entry[2][2]
    out[#out + 1] = entry[2][4]
  end
  return out
end
local found = redis.call('ZRANGEBYSCORE', KEYS[1], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for i = 1, #found, 2 do
  local record = redis.call('HGET', KEYS[2], found[i])
  out[#out + 1] = found[i + 1]
  out[#out + 1] = found[i]
  out[#out + 1] = record or 'null'
end
return out
""")
"""Returns number, item, record of each change, oldest first: from the stream, or from the compacted log."""

CHANGE_PREFERENCES = Script("""
-- KEYS interests; ARGV number to keep, interest and value to add ('' = none), then interests to forget
local forget, add = {}, ARGV[2]
local left = redis.call('HLEN', KEYS[1])
for i = 4, #ARGV do
  if ARGV[i] ~= add and not forget[ARGV[i]] and redis.call('HEXISTS', KEYS[1], ARGV[i]) == 1 then
    forget[ARGV[i]] = true
    left = left - 1
  end
end
if add ~= '' and redis.call('HEXISTS', KEYS[1], add) == 0 and left >= tonumber(ARGV[1]) then return 0 end
for interest in pairs(forget) do redis.call('HDEL', KEYS[1], interest) end
if add ~= '' then redis.call('HSET', KEYS[1], add, ARGV[3]) end
return 1
""")
"""Changes what one user pinned and muted; 0 = there is no room, and nothing was changed."""

APPEND_LOG = Script("""
-- KEYS stream; ARGV length to keep, then per entry: user, json
for i = 2, #ARGV, 2 do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'user_id', ARGV[i], 'json', ARGV[i + 1])
end
return #ARGV
""")
"""Adds entries to a log: one command for many."""

ADD_TREND = Script("""
-- KEYS trend; ARGV number to keep, ttl in s, then per event: item, time over half-life
for i = 3, #ARGV, 2 do
  local score = tonumber(ARGV[i + 1])
  local stored = redis.call('ZSCORE', KEYS[1], ARGV[i])
  if stored then
    local old = tonumber(stored)
    local high, low = math.max(old, score), math.min(old, score)
    score = high + math.log(1 + 2 ^ (low - high)) / math.log(2)
  end
  redis.call('ZADD', KEYS[1], string.format('%.17g', score), ARGV[i])
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -ARGV[1] - 1)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return #ARGV
""")
"""Adds events to the decayed counts of one placement; the items with the least are forgotten."""

ADD_EXPOSURES = Script("""
-- KEYS exposures; ARGV number to keep, ttl in s, then lines, oldest first
for i = 3, #ARGV do redis.call('LPUSH', KEYS[1], ARGV[i]) end
redis.call('LTRIM', KEYS[1], 0, ARGV[1] - 1)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return #ARGV
""")
"""Remembers what one user was shown."""

ADD_TRACES = Script("""
-- KEYS order, users, then a trace per entry; all have one hash tag, those that are dropped, too
-- ARGV number to keep, ttl and now in ms, what the names of traces begin with; then id, user, bytes per entry
local keep, ttl, now, name = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), ARGV[4]
for i = 3, #KEYS do
  local at = 5 + 3 * (i - 3)
  redis.call('SET', KEYS[i], ARGV[at + 2], 'PX', ttl)
  redis.call('ZADD', KEYS[1], now, ARGV[at])
  redis.call('HSET', KEYS[2], ARGV[at], ARGV[at + 1])
end
local function drop(ids)
  for _, id in ipairs(ids) do
    redis.call('DEL', name .. id)
    redis.call('HDEL', KEYS[2], id)
    redis.call('ZREM', KEYS[1], id)
  end
end
drop(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now - ttl))
drop(redis.call('ZRANGE', KEYS[1], 0, -keep - 1))
redis.call('PEXPIRE', KEYS[1], ttl)
redis.call('PEXPIRE', KEYS[2], ttl)
return redis.call('ZCARD', KEYS[1])
""")
"""Keeps traces: the newest, and none for longer than the ttl; returns how many there are."""

ERASE_TRACES = Script("""
-- KEYS order, users; ARGV user, what the names of traces begin with
local all, erased = redis.call('HGETALL', KEYS[2]), 0
for i = 1, #all, 2 do
  if all[i + 1] == ARGV[1] then
    redis.call('DEL', ARGV[2] .. all[i])
    redis.call('HDEL', KEYS[2], all[i])
    redis.call('ZREM', KEYS[1], all[i])
    erased = erased + 1
  end
end
return erased
""")
"""Forgets the traces of one user; returns how many there were."""
