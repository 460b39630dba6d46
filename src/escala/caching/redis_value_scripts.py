"""What Redis does for the second level: one script and one round trip for each verb.

KEYS[1] is the hash of versions: `e` the epoch, `c` the clock, `f` the floor of the tags, `a` and
`x` when all were deleted and expired, `t:<tag>` and `x:<tag>` when a tag was. The others are a
hash for each key: `b` the blob, `t` the lease's token and `u` its end, `h` the end of a hold-off,
`x` that it was expired. ARGV[1] are 16 random bytes: the caller's token, and the first eight an
epoch, in case there is none. Ends are milliseconds of the server's clock.

What is found need not be what was written: a hash may be another type, a field any bytes. So
each is looked at before it is reckoned with, and what is no number of ours counts as none. A
script that runs twice has done the same as once.

Signals leave as `<writer> <kind> <soft> <clock> <name>`, twice: published, and as the name of a
key that is written and at once deleted, which is what tracking tells others of.
"""

from __future__ import annotations

_BEGIN = """
local base = string.sub(KEYS[1], 1, -2)
local time = redis.call('TIME')
local seconds = time[1] + time[2] / 1000000
local now = seconds * 1000
local function number(text)
  local value = tonumber(text)
  if value and value >= 0 and value < 9007199254740992 then return value end
end
local function text(value) return string.format('%.0f', value) end
local function millis(value) return text(math.max(1, math.min(math.ceil(value), 3e11))) end
local epoch, clock, floor, gone, expired
local function tell(writer, kind, soft, name)
  local words = table.concat({writer, kind, soft, text(clock), name}, ' ')
  redis.call('SET', base .. 'i:' .. words, '')
  redis.call('DEL', base .. 'i:' .. words)
  redis.call('PUBLISH', base .. 'e', words)
end
local function fields(key, ...)
  local row = redis.pcall('HMGET', key, ...)
  if row.err then return {}, true end
  return row
end
local function write_versions()
  redis.call('HSET', KEYS[1], 'e', epoch, 'c', text(clock), 'f', text(floor), 'a', text(gone),
    'x', text(expired))
end
do
  local row = fields(KEYS[1], 'e', 'c', 'f', 'a', 'x')
  epoch, clock, floor = row[1], number(row[2]), number(row[3])
  gone, expired = number(row[4]), number(row[5])
  if not (epoch and #epoch == 8 and clock and floor and gone and expired) then
    epoch, clock, floor, gone, expired =
      string.sub(ARGV[1], 1, 8), 0, 0, 0, 0
    redis.call('UNLINK', KEYS[1])
    write_versions()
    tell('-', 'epoch', 0, '')
  end
end
"""

# Whether a blob is valid: nil is gone, 1 expired, 2 valid. With it when it was born, how long it
# is fresh, and how long stale.
_STANDING = """
local function standing(blob)
  if not blob or #blob < 54 or string.sub(blob, 1, 3) ~= 'Es\\1' then return end
  local life, since, born, fresh, stale, took, tags, at = struct.unpack('>c8I8dddfI2', blob, 9)
  if life ~= epoch or since > clock or since < gone then return end
  if tags > 0 and since < floor then return end
  local found = since < expired and 1 or 2
  while tags > 0 do
    local names = {}
    for nth = 1, math.min(tags, 500) do
      if at + 1 > #blob then return end
      local tag
      local length = struct.unpack('>I2', blob, at)
      at = at + 2 + length
      if at - 1 > #blob then return end
      tag = string.sub(blob, at - length, at - 1)
      names[2 * nth - 1], names[2 * nth] = 't:' .. tag, 'x:' .. tag
    end
    local moments = redis.call('HMGET', KEYS[1], unpack(names))
    for nth = 1, #names, 2 do
      if moments[nth] and not (since >= (number(moments[nth]) or clock + 1)) then return end
      if moments[nth + 1] and not (since >= (number(moments[nth + 1]) or clock + 1)) then
        found = 1
      end
    end
    tags = tags - #names / 2
  end
  return found, born, fresh, stale
end
"""

_LEASE = """
local function lend(key, token, lease, foreign)
  if foreign then redis.call('UNLINK', key) end
  redis.call('HSET', key, 't', token, 'u', text(math.floor(now + lease)))
  if redis.call('PTTL', key) < lease then redis.call('PEXPIRE', key, millis(lease)) end
end
"""

# ARGV: token, lease in ms, whether early. Answers epoch, clock, seconds,
# microseconds, and for each key: blob, whether expired, whether lent, ms the other's lease has.
READ = f"""{_BEGIN}{_STANDING}{_LEASE}
local token, lease, early = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local answer = {{epoch, clock, time[1], time[2]}}
for nth = 2, #KEYS do
  local row, foreign = fields(KEYS[nth], 'b', 't', 'u', 'h', 'x')
  local found, born, fresh, stale = standing(row[1])
  if not (found and born <= seconds + 1 and seconds < born + fresh + stale) then found = nil end
  if found and row[5] then found = 1 end
  local lent, wait, ends = 0, 0, row[2] and number(row[3]) or 0
  if lease > 0 and (early or found ~= 2 or seconds >= born + fresh)
    and now >= (number(row[4]) or 0) and (now >= ends or row[2] == token) then
    lend(KEYS[nth], token, lease, foreign)
    lent = 1
  elseif now < ends then
    wait = math.ceil(ends - now)
  end
  local place = #answer
  answer[place + 1] = found and row[1] or false
  answer[place + 2], answer[place + 3], answer[place + 4] = found == 1 and 1 or 0, lent, wait
end
return answer
"""

# ARGV: token, lease in ms, writer. Answers epoch, clock, seconds, microseconds.
CLAIM = f"""{_BEGIN}{_LEASE}
local token, lease = ARGV[1], tonumber(ARGV[2])
for nth = 2, #KEYS do
  local hold = number(fields(KEYS[nth], 'h')[1]) or 0
  redis.call('UNLINK', KEYS[nth])
  lend(KEYS[nth], token, lease)
  if hold > now then
    redis.call('HSET', KEYS[nth], 'h', text(hold))
    redis.call('PEXPIRE', KEYS[nth], millis(math.max(hold - now, lease)))
  end
end
for nth = 2, #KEYS do tell(ARGV[3], 'key', 0, string.sub(KEYS[nth], #base + 3)) end
return {{epoch, clock, time[1], time[2]}}
"""

# ARGV: 16 bytes, and for each key: token, ms to keep, blob. Answers 1 or 0 for each.
STORE = f"""{_BEGIN}{_STANDING}
local answer = {{}}
for nth = 2, #KEYS do
  local token, keep, blob = ARGV[3 * nth - 4], tonumber(ARGV[3 * nth - 3]), ARGV[3 * nth - 2]
  local row = fields(KEYS[nth], 't', 'u', 'h')
  answer[nth - 1] = 0
  if row[1] == token then
    if now < (number(row[2]) or 0) and now >= (number(row[3]) or 0) and standing(blob) then
      redis.call('UNLINK', KEYS[nth])
      redis.call('HSET', KEYS[nth], 'b', blob)
      redis.call('PEXPIRE', KEYS[nth], millis(keep))
      answer[nth - 1] = 1
    else
      redis.call('HDEL', KEYS[nth], 't', 'u')
    end
  end
end
return answer
"""

# KEYS: versions, as for all, and keys. ARGV: a token for each key.
RELEASE = """
for nth = 2, #KEYS do
  if redis.pcall('HGET', KEYS[nth], 't') == ARGV[nth - 1] then
    redis.call('HDEL', KEYS[nth], 't', 'u')
  end
end
"""

# ARGV: 16 bytes, hold in ms, how many tags at most, writer, and for each signal: kind, soft, name;
# those of keys first, in the order of KEYS.
INVALIDATE = f"""{_BEGIN}
local hold, most = tonumber(ARGV[2]), tonumber(ARGV[3])
local ticked = false
local function tick()
  if not ticked then clock = redis.call('HINCRBY', KEYS[1], 'c', 1) end
  ticked = true
end
local function begin_tags()
  redis.call('UNLINK', KEYS[1])
  write_versions()
end
for nth = 5, #ARGV, 3 do
  local kind, soft, name = ARGV[nth], ARGV[nth + 1] == '1', ARGV[nth + 2]
  if kind == 'key' then
    local key = KEYS[(nth - 5) / 3 + 2]
    local row, foreign = fields(key, 'h', 'b')
    local held = number(row[1]) or 0
    if hold > 0 then held = math.max(held, math.ceil(now + hold)) end
    if soft and row[2] then
      redis.call('HDEL', key, 't', 'u')
      redis.call('HSET', key, 'x', '1')
    elseif foreign or redis.call('EXISTS', key) == 1 then
      redis.call('UNLINK', key)
    end
    if held > now then
      redis.call('HSET', key, 'h', text(held))
      if redis.call('PTTL', key) < held - now then
        redis.call('PEXPIRE', key, millis(held - now))
      end
    end
  elseif kind == 'tag' then
    tick()
    local field = (soft and 'x:' or 't:') .. name
    if redis.call('HLEN', KEYS[1]) - 5 >= most
      and redis.call('HEXISTS', KEYS[1], field) == 0 then
      floor = clock
      begin_tags()
    else
      redis.call('HSET', KEYS[1], field, text(clock))
    end
  else
    tick()
    if soft then expired = clock else gone, floor = clock, clock end
    if soft then write_versions() else begin_tags() end
  end
end
for nth = 5, #ARGV, 3 do tell(ARGV[4], ARGV[nth], ARGV[nth + 1], ARGV[nth + 2]) end
"""
