"""What Redis does for a circuit breaker that processes share: one script for all errands."""

from __future__ import annotations

# A hash holds the state, and a sorted set the probes that are out, by when their leases end. All
# times are milliseconds of the server's clock. Should it be set back, what would lie too far ahead
# is cut to what it can be at most; nothing waits longer than its own length.
#
# KEYS: the state, the probes. ARGV: errand, whether it is open in the asking process alone, the
# probe's id, its reason, cooldown, cooldown_cap (0 for none), probes, probe_lease, ids given back.
# Answers: whether the state is known, the state, time left, whether a probe was granted, why.
SCRIPT = """
local errand, opened, id, because = ARGV[1], ARGV[2] == '1', ARGV[3], ARGV[4]
local base, cap, probes, lease =
  tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local found = redis.call('HMGET', KEYS[1], 'state', 'ends', 'cooldown', 'passed', 'reason')
local state, reason = found[1] or 'closed', found[5] or ''
local known = found[1] ~= false
local ends, cooldown, passed =
  tonumber(found[2] or 0), tonumber(found[3] or base), tonumber(found[4] or 0)
local granted = 0

local function keep()
  local length = string.format('%.0f', 3600000 + cooldown + math.max(cap, cooldown) + lease)
  redis.call('PEXPIRE', KEYS[1], length)
  redis.call('PEXPIRE', KEYS[2], length)
end

local function enter(after, why)
  known, state, reason, passed, ends = true, after, why, 0, now + cooldown
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'state', state, 'ends', string.format('%.0f', ends),
    'cooldown', string.format('%.0f', cooldown), 'passed', 0, 'reason', reason)
  keep()
end

for at = 9, #ARGV do redis.call('ZREM', KEYS[2], ARGV[at]) end
if ends > now + cooldown then
  ends = now + cooldown
  redis.call('HSET', KEYS[1], 'ends', string.format('%.0f', ends))
end

if errand == 'open' and state == 'closed' then
  cooldown = base
  enter('open', because)
elseif errand == 'probe' then
  local cooled = state == 'open' and now >= ends
  if cooled or (state == 'closed' and (opened or not known)) then
    enter('half-open', 'the cooldown is over')
  end
  if state == 'half-open' then
    redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
    redis.call('ZREMRANGEBYSCORE', KEYS[2], '(' .. string.format('%.0f', now + lease), '+inf')
    if redis.call('ZCARD', KEYS[2]) + passed < probes then
      redis.call('ZADD', KEYS[2], now + lease, id)
      granted = 1
      keep()
    end
  end
elseif (errand == 'passed' or errand == 'failed') and redis.call('ZREM', KEYS[2], id) == 1 then
  if errand == 'failed' then
    if cap > 0 then cooldown = math.min(cap, cooldown * 2) end
    enter('open', because)
  else
    passed = passed + 1
    redis.call('HSET', KEYS[1], 'passed', passed)
    if passed >= probes then
      cooldown = base
      enter('closed', passed .. ' of ' .. probes .. ' probes passed')
    end
  end
end

local left = 0
if state == 'open' then
  left = math.max(0, ends - now)
elseif state == 'half-open' and granted == 0 then
  local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
  left = math.max(0, math.min(cooldown, (tonumber(first[2]) or now) - now))
end
return {known and 1 or 0, state, string.format('%.0f', left), granted, reason}
"""
