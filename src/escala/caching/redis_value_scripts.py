"""What Redis does for the second level: one script and one round trip for each verb.

KEYS[1] is a hash of what was invalidated: `v` holds the epoch, the clock, the floor of the tags,
when all were deleted and expired, the end of a hold-off for all, and the last end of one for any
tag; `t<tag>` when a tag was deleted and expired, and the end of its hold-off. The others are a
hash for each key: `b` is the blob, and `l` the end of the lease, the end of a hold-off, whether
it is expired, and the lease's token. ARGV[1] are 16 random bytes: the caller's token, and the
first eight an epoch, in case there is none. Ends are milliseconds of the server's clock.

What is found need not be what was written: a hash may be another type, a field any bytes. So
each is looked at before it is reckoned with, and what is not of ours counts as none. A script
that runs twice has done the same as once.

Signals leave as `<writer> <kind> <soft> <clock> <name>`, twice: published, and as the name of a
key that is written and at once deleted, which is what tracking tells others of.

When its memory is full, Redis refuses what takes more of it, unless the same script has written
something before. So a value is refused, and an invalidation, which begins with a deletion, is not.
"""

from __future__ import annotations

_BEGIN = """
local base = string.sub(KEYS[1], 1, -2)
local time = redis.call('TIME')
local seconds = time[1] + time[2] / 1000000
local now = math.floor(seconds * 1000)
local epoch, clock, floor, gone, expired, paused, latest
local function fields(key, ...)
  local row = redis.pcall('HMGET', key, ...)
  if row.err then return {}, true end
  return row
end
local function write_life()
  redis.call('HSET', KEYS[1], 'v',
    struct.pack('>c8I8I8I8I8I8I8', epoch, clock, floor, gone, expired, paused, latest))
end
local function tell(writer, kind, soft, name)
  local text = table.concat({writer, kind, soft, string.format('%.0f', clock), name}, ' ')
  redis.call('SET', base .. 'i:' .. text, '')
  redis.call('DEL', base .. 'i:' .. text)
  redis.call('PUBLISH', base .. 'e', text)
end
local function read_life(packed)
  if packed and #packed == 56 then
    epoch, clock, floor, gone, expired, paused, latest =
      struct.unpack('>c8I8I8I8I8I8I8', packed)
    if clock < 9007199254740992 and math.max(floor, gone, expired) <= clock then return end
  end
  epoch, clock, floor, gone, expired = string.sub(ARGV[1], 1, 8), 0, 0, 0, 0
  paused, latest = 0, 0
  redis.call('UNLINK', KEYS[1])
  write_life()
  tell('-', 'epoch', 0, '')
end
local function lock_of(packed)
  if packed and #packed >= 17 then
    local ends, held, hit = struct.unpack('>I8I8B', packed)
    if math.max(ends, held) < now + 400000000000 then return ends, held, hit end
  end
  return 0, 0, 0
end
local function lock(key, ends, held, hit, token)
  return redis.pcall('HSET', key, 'l', struct.pack('>I8I8Bc0', ends, held, hit, token))
end
local function last(key, millis)
  if redis.call('PTTL', key) < millis then redis.call('PEXPIRE', key, millis) end
end
"""

# Whether a blob is valid: nil is gone, 1 expired, 2 valid. With it when it was born, how long it
# is fresh, how long stale, and until when one with its tags may not have been born to be stored.
# One question of the versions for up to a thousand tags.
_STANDING = """
local function standing(blob)
  if not blob or #blob < 54 or string.sub(blob, 1, 3) ~= 'Es\\1' then return end
  local life, since, born, fresh, stale, took, tags, at = struct.unpack('>c8I8dddfI2', blob, 9)
  local found, held, names, count = 2, 0, {'v'}, 1
  repeat
    while tags > 0 and count < 1000 do
      if at + 1 > #blob then return end
      local length = struct.unpack('>I2', blob, at)
      at, tags, count = at + 2 + length, tags - 1, count + 1
      if at - 1 > #blob then return end
      names[count] = 't' .. string.sub(blob, at - length, at - 1)
    end
    if count > 1 or not epoch then
      local moments = fields(KEYS[1], unpack(names))
      if not epoch then read_life(moments[1]) end
      if count > 1 and since < floor then return end
      for nth = 2, count do
        local moment = moments[nth]
        if moment then
          if #moment ~= 24 then return end
          local deleted, hit, ends = struct.unpack('>I8I8I8', moment)
          held = math.max(held, ends)
          if since < deleted then return end
          if since < hit then found = 1 end
        end
      end
    end
    names, count = {'v'}, 1
  until tags == 0
  if life ~= epoch or since > clock or since < gone then return end
  if since < expired then found = 1 end
  return found, born, fresh, stale, math.max(held, paused)
end
"""

# ARGV: token, lease in ms, whether early. Answers epoch, clock, seconds, microseconds, and for
# each key: blob, whether expired, whether lent, ms that another's lease has.
READ = f"""{_BEGIN}{_STANDING}
local token, lease, early = ARGV[1], tonumber(ARGV[2]), ARGV[3] == '1'
local answer = {{false, false, time[1], time[2]}}
for nth = 2, #KEYS do
  local key = KEYS[nth]
  local row, foreign = fields(key, 'b', 'l')
  local found, born, fresh, stale = standing(row[1])
  if not (found and born <= seconds + 1 and seconds < born + fresh + stale) then found = nil end
  local ends, held, hit = lock_of(row[2])
  if found and hit ~= 0 then found = 1 end
  local lent, wait = 0, 0
  if lease > 0 and (early or found ~= 2 or seconds >= born + fresh) and now >= held
    and (now >= ends or string.sub(row[2], 18) == token) then
    if foreign then redis.call('UNLINK', key) end
    if type(lock(key, now + lease, held, hit, token)) == 'number' then
      last(key, lease)
      lent = 1
    end
  elseif now < ends then
    wait = ends - now
  end
  local place = 4 * nth - 3
  answer[place] = found and row[1] or false
  answer[place + 1], answer[place + 2], answer[place + 3] = found == 1 and 1 or 0, lent, wait
end
if not epoch then read_life(fields(KEYS[1], 'v')[1]) end
answer[1], answer[2] = epoch, clock
return answer
"""

# ARGV: token, lease in ms, writer. Answers epoch, clock, seconds, microseconds.
CLAIM = f"""{_BEGIN}
local token, lease = ARGV[1], tonumber(ARGV[2])
read_life(fields(KEYS[1], 'v')[1])
for nth = 2, #KEYS do
  local ends, held = lock_of(fields(KEYS[nth], 'l')[1])
  redis.call('UNLINK', KEYS[nth])
  lock(KEYS[nth], now + lease, held, 0, token)
  last(KEYS[nth], math.max(lease, held - now))
end
for nth = 2, #KEYS do tell(ARGV[3], 'key', 0, string.sub(KEYS[nth], #base + 3)) end
return {{epoch, clock, time[1], time[2]}}
"""

# Leaves a hold-off and an expiry. A hash without fields is none, so that ends with the lease.
_RELEASE = """
local function release(key, packed)
  local rest = string.sub(packed, 9, 17)
  if rest == string.rep('\\0', 9) then return redis.call('HDEL', key, 'l') end
  redis.call('HSET', key, 'l', string.rep('\\0', 8) .. rest)
end
"""

# ARGV: 16 bytes, a writer if others are to hear of it, and for each key: token, ms to keep, blob.
# Answers 1 or 0 for each.
STORE = f"""{_BEGIN}{_STANDING}{_RELEASE}
local answer = {{}}
for nth = 2, #KEYS do
  local key, blob = KEYS[nth], ARGV[3 * nth - 1]
  local packed = fields(key, 'l')[1]
  local ends, held = lock_of(packed)
  answer[nth - 1] = 0
  if packed and string.sub(packed, 18) == ARGV[3 * nth - 3] then
    local found, born, _, _, paused = standing(blob)
    if found and now < ends and now >= held and born * 1000 >= paused
      and type(redis.pcall('HSET', key, 'b', blob)) == 'number' then
      redis.call('HDEL', key, 'l')
      redis.call('PEXPIRE', key, ARGV[3 * nth - 2])
      answer[nth - 1] = 1
      if ARGV[2] ~= '' then tell(ARGV[2], 'key', 0, string.sub(key, #base + 3)) end
    else
      release(key, packed)
    end
  end
end
return answer
"""

# KEYS: versions, as for all, and keys. ARGV: a token for each key.
RELEASE = f"""{_RELEASE}
for nth = 2, #KEYS do
  local packed = redis.pcall('HGET', KEYS[nth], 'l')
  if type(packed) == 'string' and string.sub(packed, 18) == ARGV[nth - 1] then
    release(KEYS[nth], packed)
  end
end
"""

# ARGV: 16 bytes, hold in ms, how many tags at most, writer, and for each signal: kind, soft, name;
# those of keys first, in the order of KEYS.
INVALIDATE = f"""{_BEGIN}
local hold, most = tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('UNLINK', base .. 'i:')  -- nothing, and yet a write: see above
read_life(fields(KEYS[1], 'v')[1])
local function forget_tags()
  floor, paused = clock, latest
  redis.call('UNLINK', KEYS[1])
end
local ticked = false
for nth = 5, #ARGV, 3 do
  local kind, soft, name = ARGV[nth], ARGV[nth + 1] == '1', ARGV[nth + 2]
  if kind ~= 'key' then
    if not ticked then clock, ticked = clock + 1, true end
    if hold > 0 then latest = math.max(latest, now + hold + 1) end
  end
  if kind == 'key' then
    local key = KEYS[(nth - 5) / 3 + 2]
    local row = fields(key, 'b', 'l')
    local ends, held = lock_of(row[2])
    if hold > 0 then held = math.max(held, now + hold) end
    if not (soft and row[1]) then redis.call('UNLINK', key) end
    if soft and row[1] or held > now then
      lock(key, 0, held, soft and 1 or 0, '')
      if held > now then last(key, held - now) end
    end
  elseif kind == 'tag' then
    local deleted, hit, held = 0, 0, 0
    local packed = redis.call('HGET', KEYS[1], 't' .. name)
    if packed and #packed == 24 then deleted, hit, held = struct.unpack('>I8I8I8', packed) end
    if hold > 0 then held = math.max(held, now + hold + 1) end
    if soft then hit = clock else deleted = clock end
    if not packed and redis.call('HLEN', KEYS[1]) > most then
      forget_tags()
    else
      redis.call('HSET', KEYS[1], 't' .. name, struct.pack('>I8I8I8', deleted, hit, held))
    end
  else
    if hold > 0 then paused = math.max(paused, now + hold + 1) end
    if soft then
      expired = clock
    else
      gone = clock
      forget_tags()
    end
  end
end
if ticked then write_life() end
for nth = 5, #ARGV, 3 do tell(ARGV[4], ARGV[nth], ARGV[nth + 1], ARGV[nth + 2]) end
"""
