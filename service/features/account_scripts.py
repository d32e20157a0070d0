"""The Lua scripts of advertisers' accounts: each touches the keys of one advertiser, all or nothing.

Amounts are whole micros. Lua counts in doubles, which are exact up to 2^53; the API bounds budgets and bids
far below. A script that fails half-way cannot lose money: Redis runs it alone and its only errors are ours.
"""

from __future__ import annotations

from service.features.scripts import Script

LEAD_MS = 3_600_000
"""Even pacing lets an hour's share be spent ahead of time, so that a day begins with something to spend."""
_SWEPT = 1000

_PRELUDE = f"""
local account, holds, amounts = KEYS[1], KEYS[2], KEYS[3]
local now, day, elapsed = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local function text(value) return string.format('%.0f', value) end
local function number(name) return tonumber(redis.call('HGET', account, name) or '0') end
local function add(name, value)
  if value ~= 0 then redis.call('HINCRBY', account, name, text(value)) end
end
local function release(member)
  local held = redis.call('HGET', amounts, member)
  redis.call('ZREM', holds, member)
  redis.call('HDEL', amounts, member)
  if held then add('reserved', -tonumber(held)) end
  return held and tonumber(held)
end
-- A day begins once, whichever worker's clock is first; one that is behind does not bring the old day back.
local today = number('day')
if redis.call('EXISTS', account) == 1 then
  if day > today then
    redis.call('HSET', account, 'day', text(day), 'spent', '0')
  elseif day < today then
    day, elapsed = today, 0
  end
end
for _, member in ipairs(redis.call('ZRANGEBYSCORE', holds, '-inf', now, 'LIMIT', 0, {_SWEPT})) do
  release(member)
end
"""
"""KEYS account, holds, amounts; ARGV now in ms, day as yyyymmdd, ms of the day that have passed.

Begins the day and ends the holds that are over; what is left over of very many, the next call ends.
"""

READ_ACCOUNT = Script(
    _PRELUDE
    + """
return redis.call('HGETALL', account)
"""
)
"""The account's fields as they are now."""

PUT_ACCOUNT = Script(
    _PRELUDE
    + """
-- ARGV daily budget, currency, pacing
local known = redis.call('HGET', account, 'currency')
local used = number('reserved') > 0 or number('total') > 0
if known and known ~= ARGV[5] and used then return 0 end
redis.call('HSET', account, 'daily', ARGV[4], 'currency', ARGV[5], 'pacing', ARGV[6])
if number('day') == 0 then redis.call('HSET', account, 'day', text(day), 'spent', '0') end
return 1
"""
)
"""Sets a budget; 0 = money of another currency was spent or is held, and nothing was changed."""

HOLD = Script(
    _PRELUDE
    + f"""
-- ARGV currency, end of the holds in ms, then member, price per slot
local out = {{}}
if redis.call('HGET', account, 'currency') ~= ARGV[4] then
  for i = 6, #ARGV, 2 do out[#out + 1] = -1 end
  return out
end
local daily = number('daily')
local allowed = daily
if redis.call('HGET', account, 'pacing') == 'even' then
  allowed = math.floor(daily * math.min(1, (elapsed + {LEAD_MS}) / 86400000))
end
for i = 6, #ARGV, 2 do
  local member, price = ARGV[i], tonumber(ARGV[i + 1])
  local held = tonumber(redis.call('HGET', amounts, member) or '0')
  local after = number('spent') + number('reserved') - held + price
  if after > allowed then
    out[#out + 1] = after > daily and 0 or -2
  else
    redis.call('ZADD', holds, ARGV[5], member)
    redis.call('HSET', amounts, member, text(price))
    add('reserved', price - held)
    out[#out + 1] = 1
  end
end
return out
"""
)
"""Holds prices, each by itself; a hold that is there changes its price.

Per slot 1 = held, 0 = the day's budget does not allow it, -2 = only its pacing does not, -1 = there is no
account in this currency.
"""

RELEASE = Script(
    _PRELUDE
    + """
-- ARGV members
for i = 4, #ARGV do release(ARGV[i]) end
return #ARGV
"""
)
"""Ends holds before their time."""

CHARGE = Script(
    _PRELUDE
    + """
-- KEYS charged, ledger
-- ARGV member, price, ms for which a charge is remembered, ledger entries to keep, request, item, served at
local charged, ledger = KEYS[4], KEYS[5]
local member, price = ARGV[4], tonumber(ARGV[5])
redis.call('ZREMRANGEBYSCORE', charged, '-inf', now - tonumber(ARGV[6]))
if redis.call('ZSCORE', charged, member) then return {0, 0} end
if redis.call('EXISTS', account) == 0 then return {-1, 0} end
local held = release(member)
local micros = price
-- A click after its hold has ended is paid only from what the day's budget has left.
if not held and number('spent') + number('reserved') + price > number('daily') then micros = 0 end
redis.call('ZADD', charged, now, member)
add('spent', micros)
add('total', micros)
redis.call('HINCRBY', account, micros > 0 and 'clicks' or 'unfunded', 1)
redis.call('XADD', ledger, '*', 'request', ARGV[8], 'item', ARGV[9], 'price', ARGV[5],
  'micros', text(micros), 'day', text(day), 'served', ARGV[10], 'at', ARGV[1])
local extra = redis.call('XLEN', ledger) - tonumber(ARGV[7])
if extra > 0 then
  for _, entry in ipairs(redis.call('XRANGE', ledger, '-', '+', 'COUNT', extra)) do
    for i = 1, #entry[2], 2 do
      if entry[2][i] == 'micros' then
        local old = tonumber(entry[2][i + 1])
        add('archived', old)
        redis.call('HINCRBY', account, old > 0 and 'archived_clicks' or 'archived_unfunded', 1)
      end
    end
    redis.call('XDEL', ledger, entry[1])
  end
end
if micros == 0 then return {-2, 0} end
return {1, micros}
"""
)
"""Charges a click once and writes it to the ledger; the outcome and the micros.

1 = charged, 0 = it was charged before, -1 = there is no account, -2 = its hold has ended and the budget is
used up: written with 0 micros, for good. Entries beyond the limit go into the account's `archived` sums.
"""
