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
-- KEYS records, order; ARGV now in microseconds, then item, record per change
local top = redis.call('ZREVRANGE', KEYS[2], 0, 0, 'WITHSCORES')
-- At least the time: should Redis lose its data, new numbers still lie after every cursor handed out.
local number = math.max(tonumber(top[2] or '0'), tonumber(ARGV[1]))
for i = 2, #ARGV, 2 do
  number = number + 1
  redis.call('HSET', KEYS[1], ARGV[i], ARGV[i + 1])
  redis.call('ZADD', KEYS[2], string.format('%.0f', number), ARGV[i])
end
return #ARGV
""")
"""Writes records and gives each the next change number."""

READ_CHANGES = Script("""
-- KEYS order, records; ARGV exclusive lower bound, limit
local found = redis.call('ZRANGEBYSCORE', KEYS[1], ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
local out = {}
for i = 1, #found, 2 do
  local record = redis.call('HGET', KEYS[2], found[i])
  out[#out + 1] = found[i + 1]
  out[#out + 1] = found[i]
  out[#out + 1] = record or 'null'
end
return out
""")
"""Returns number, item, record of each change, oldest first."""

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

ADD_EXPOSURES = Script("""
-- KEYS exposures; ARGV number to keep, ttl in s, then lines, oldest first
for i = 3, #ARGV do redis.call('LPUSH', KEYS[1], ARGV[i]) end
redis.call('LTRIM', KEYS[1], 0, ARGV[1] - 1)
redis.call('EXPIRE', KEYS[1], ARGV[2])
return #ARGV
""")
"""Remembers what one user was shown."""
