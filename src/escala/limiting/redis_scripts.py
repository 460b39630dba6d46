"""What Redis does for a limiter: one script for each algorithm, one round trip for each decision.

All of them take the cost (0 only looks, below 0 gives back), how many microseconds ahead a place
may be taken, and three numbers for each limit; and answer with whether the cost was granted, how
many microseconds ahead, and for each limit the microseconds until it would grant, the tokens left,
and the microseconds until all are back. Nothing is written for a call that is refused.

Times are microseconds of the server's clock since 2025, so that they and their sums are exact in
Lua's numbers. Should that clock be set back, what would lie too far ahead is cut to what it can be
at most: nothing waits much longer than it would have at first.
"""

from __future__ import annotations

_BEGIN = """
local clock = redis.call('TIME')
local now = (clock[1] - 1735689600) * 1000000 + clock[2]
local cost, ahead = tonumber(ARGV[1]), tonumber(ARGV[2])
local asked = math.max(cost, 0)
if cost == 0 then asked = 1 end
local limits = (#ARGV - 2) / 3
local answer, longest = {0, 0}, 0
local function number(limit, nth) return tonumber(ARGV[3 * limit + nth - 1]) end
local function text(value) return string.format('%.0f', value) end
local function whole(time) return math.min(math.ceil(math.max(0, time)), 1e15) end
local function stands(limit, wait, left, reset)
  local place = 3 * limit
  answer[place], answer[place + 1], answer[place + 2] =
    whole(wait), math.max(0, math.floor(left)), whole(reset)
end
"""

# The three scripts whose state is a few numbers: read them here, write them at the end.
_READ = """
local state, at, mended = {}, 0, false
for value in string.gmatch(redis.call('GET', KEYS[1]) or '', '%S+') do
  at = at + 1
  state[at] = tonumber(value) or error('someone else wrote to ' .. KEYS[1])
end
"""
_WRITE = """
local function write(lasts)
  if lasts <= 0 then return redis.call('DEL', KEYS[1]) end
  for each = 1, #state do state[each] = text(state[each]) end
  redis.call('SET', KEYS[1], table.concat(state, ' '), 'PX', text(whole(lasts / 1000) + 1))
end
"""

# A number for each limit: when its bucket will be full, on the limit's own clock, which counts
# parts of a token, so that tokens add up exactly. KEYS: the key. For each limit: parts a
# microsecond, parts in the bucket, parts of one token.
BUCKET = f"""{_BEGIN}{_READ}{_WRITE}
for limit = 1, limits do
  local speed, most, token = number(limit, 1), number(limit, 2), number(limit, 3)
  local clock = math.floor(now * speed)
  local full = math.max(state[limit] or clock, clock)
  if full - clock > most + speed * math.max(ahead, 60000000) then
    full, mended = clock + most, true
  end
  state[limit] = full
  longest = math.max(longest, (full + asked * token - clock - most) / speed)
end
local sleep = 0
if cost > 0 and longest <= ahead then
  sleep = math.ceil(longest)
  answer[1], answer[2] = 1, sleep
end
local lasts = 0
for limit = 1, limits do
  local speed, most, token = number(limit, 1), number(limit, 2), number(limit, 3)
  local clock = math.floor(now * speed)
  local wait = math.max(0, (state[limit] + asked * token - clock - most) / speed)
  if answer[1] == 1 then
    state[limit], wait = state[limit] + cost * token, 0
  elseif cost < 0 then
    state[limit] = math.max(clock, state[limit] + cost * token)
  end
  local used = math.max(0, state[limit] - math.floor((now + sleep) * speed))
  lasts = math.max(lasts, (state[limit] - clock) / speed)
  stands(limit, wait, (most - used) / token, used / speed)
end
if answer[1] == 1 or mended or (cost < 0 and at > 0) then write(lasts) end
return answer
"""

# Two numbers for each limit: when its window ends, and how much of it is used. KEYS: the key. For
# each limit: the window in microseconds, how many it counts, nothing.
FIXED = f"""{_BEGIN}{_READ}{_WRITE}
for limit = 1, limits do
  local period, most, place = number(limit, 1), number(limit, 2), 2 * limit
  local ends, used = state[place - 1] or 0, state[place] or 0
  if ends > now + period then
    ends, mended = now + period, true
  end
  if ends <= now then ends, used = 0, 0 end
  state[place - 1], state[place] = ends, used
  if used + asked > most then longest = math.max(longest, ends - now) end
end
if cost > 0 and longest == 0 then answer[1] = 1 end
local lasts = 0
for limit = 1, limits do
  local period, most, place = number(limit, 1), number(limit, 2), 2 * limit
  local ends, used, wait = state[place - 1], state[place], 0
  if answer[1] == 1 then
    if ends == 0 then ends = now + period end
    used = used + cost
  elseif cost < 0 then
    used = math.max(0, used + cost)
  elseif used + asked > most then
    wait = ends - now
  end
  state[place - 1], state[place] = ends, used
  lasts = math.max(lasts, ends - now)
  stands(limit, wait, most - used, used > 0 and ends - now or 0)
end
if answer[1] == 1 or mended or (cost < 0 and at > 0) then write(lasts) end
return answer
"""

# Three numbers for each limit: which window it is, how much passed in the one before, and in it.
# KEYS: the key. For each limit: the window in microseconds, how many it counts, nothing.
COUNTER = f"""{_BEGIN}{_READ}{_WRITE}
local function waits(period, most, window, before, current)
  local passed = now / period - window
  if before * (1 - passed) + current + asked <= most + 0.000001 then return 0 end
  local windows
  if current + asked <= most then
    windows = 1 - (most - current - asked) / before
  else
    windows = 2 - (most - asked) / current
  end
  return math.max(1, (window + windows) * period - now)
end

for limit = 1, limits do
  local period, most, place = number(limit, 1), number(limit, 2), 3 * limit
  local window = math.floor(now / period)
  local was, before, current = state[place - 2] or window, state[place - 1] or 0, state[place] or 0
  if window == was + 1 then
    before, current = current, 0
  elseif window > was then
    before, current = 0, 0
  elseif window < was then
    mended = true
  end
  state[place - 2], state[place - 1], state[place] = window, before, current
  longest = math.max(longest, waits(period, most, window, before, current))
end
if cost > 0 and longest == 0 then answer[1] = 1 end
local lasts = 0
for limit = 1, limits do
  local period, most, place = number(limit, 1), number(limit, 2), 3 * limit
  local window, before, current, wait = state[place - 2], state[place - 1], state[place], 0
  if answer[1] == 1 then
    current = current + cost
  elseif cost < 0 then
    local here = math.min(current, -cost)
    current, before = current - here, math.max(0, before + cost + here)
  else
    wait = waits(period, most, window, before, current)
  end
  state[place - 1], state[place] = before, current
  local reset = 0
  if current > 0 then
    reset = (window + 2) * period - now
  elseif before > 0 then
    reset = (window + 1) * period - now
  end
  lasts = math.max(lasts, reset)
  stands(limit, wait, most + 0.000001 - before * (1 - now / period + window) - current, reset)
end
if answer[1] == 1 or mended or (cost < 0 and at > 0) then write(lasts) end
return answer
"""

# A list of times for each limit, oldest first, one for each token. KEYS: one for each limit. For
# each limit: the period in microseconds, how many it counts, nothing.
LOG = f"""{_BEGIN}
local function up_to(key, length, time)
  local low, high = 0, length
  while low < high do
    local middle = math.floor((low + high) / 2)
    if tonumber(redis.call('LINDEX', key, middle)) <= time then
      low = middle + 1
    else
      high = middle
    end
  end
  return low
end

local function push(key, times, period)
  local full = text(now)
  while times > 0 do
    local some = {{}}
    for each = 1, math.min(times, 1000) do some[each] = full end
    redis.call('RPUSH', key, unpack(some))
    times = times - #some
  end
  redis.call('PEXPIRE', key, text(whole(period / 1000) + 1))
end

local counts = {{}}
for limit = 1, limits do
  local key, period, most = KEYS[limit], number(limit, 1), number(limit, 2)
  local length = redis.call('LLEN', key)
  if length > 0 and tonumber(redis.call('LINDEX', key, -1)) > now then
    local future = length - up_to(key, length, now)
    redis.call('LTRIM', key, 0, -future - 1)
    push(key, future, period)
  end
  if length > 0 and tonumber(redis.call('LINDEX', key, 0)) <= now - period then
    local over = up_to(key, length, now - period)
    redis.call('LTRIM', key, over, -1)
    length = length - over
  end
  counts[limit] = length
  if length + asked > most then longest = 1 end
end
if cost > 0 and longest == 0 then answer[1] = 1 end
for limit = 1, limits do
  local key, period, most = KEYS[limit], number(limit, 1), number(limit, 2)
  local count, wait = counts[limit], 0
  if answer[1] == 1 then
    push(key, cost, period)
    count = count + cost
  elseif cost < 0 then
    redis.call('LTRIM', key, -cost, -1)
    count = math.max(0, count + cost)
  elseif count + asked > most then
    wait = redis.call('LINDEX', key, count + asked - most - 1) + period - now
  end
  local reset = 0
  if count > 0 then reset = redis.call('LINDEX', key, -1) + period - now end
  stands(limit, wait, most - count, reset)
end
return answer
"""

FORGET = "return redis.call('DEL', unpack(KEYS))"
