-- Decides every limit of one request in one step, all or nothing, on the server's clock.
-- KEYS: one counter per limit. ARGV: six values per limit: algorithm (b or w), limit, period in microseconds, burst,
-- cost, shadow (1 or 0). Reply: the time, then per limit: allowed, remaining, reset, retry (microseconds).
-- The same arithmetic as algorithms.ts, step by step; a test holds the two against each other.

-- In requests: above what sums of fractions lose, below what anybody could notice.
local EPSILON = 0.000001

-- A level is kept with the time it was true at: a theoretical arrival time alone, at 10^15, holds no fraction of a
-- microsecond, and a burst of one would then never fit.
local function bucket(raw, now, limit, period, burst, cost)
  local step = period / limit
  local at, kept = now, 0
  if raw then at, kept = struct.unpack("<dd", raw) end
  -- From further ahead than the whole burst lasts: a clock that was set back left it behind.
  local level = at - now > burst * step and 0 or math.max(0, kept - math.max(0, now - at) / step)
  local after = level + cost
  local allowed = after <= burst + EPSILON
  return {
    allowed = allowed,
    retry = allowed and 0 or (after - burst) * step,
    remaining_before = math.floor(burst - level + EPSILON),
    reset_before = level * step,
    remaining_after = math.floor(burst - after + EPSILON),
    reset_after = after * step,
    value = struct.pack("<dd", now, after),
    ttl = after * step,
  }
end

local function window(raw, now, limit, period, cost)
  local index = math.floor(now / period)
  local elapsed = now - index * period
  local previous, current = 0, 0
  if raw then
    local at, p, c = struct.unpack("<ddd", raw)
    -- The next window's: a clock that was set back a little. From further ahead: forgotten.
    if at == index or at == index + 1 then previous, current = p, c
    elseif at == index - 1 then previous = c end
  end
  local fraction = elapsed / period
  local estimate = previous * (1 - fraction) + current
  local allowed = estimate + cost <= limit + EPSILON
  local retry = 0
  if not allowed then
    if current + cost <= limit then
      retry = (1 - (limit - cost - current) / previous - fraction) * period
    else
      retry = period - elapsed + math.max(0, 1 - (limit - cost) / current) * period
    end
  end
  return {
    allowed = allowed,
    retry = retry,
    remaining_before = math.max(0, math.floor(limit - estimate + EPSILON)),
    reset_before = period - elapsed,
    remaining_after = math.max(0, math.floor(limit - estimate - cost + EPSILON)),
    reset_after = period - elapsed,
    value = struct.pack("<ddd", index, previous, current + cost),
    ttl = 2 * period - elapsed,
  }
end

local function decide(keys, args)
  local time = redis.call("TIME")
  local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
  local reply = { now }
  if #keys == 0 then return reply end
  local states = redis.call("MGET", unpack(keys))
  local results, denied = {}, false
  for i = 1, #keys do
    local at = (i - 1) * 6
    local limit, period = tonumber(args[at + 2]), tonumber(args[at + 3])
    local burst, cost = tonumber(args[at + 4]), tonumber(args[at + 5])
    local result
    if args[at + 1] == "b" then result = bucket(states[i], now, limit, period, burst, cost)
    else result = window(states[i], now, limit, period, cost) end
    result.shadow = args[at + 6] == "1"
    if not result.allowed and not result.shadow then denied = true end
    results[i] = result
  end
  for i = 1, #keys do
    local result = results[i]
    local spent = result.allowed and not denied
    if spent then redis.call("SET", keys[i], result.value, "PX", math.ceil(result.ttl / 1000) + 1) end
    reply[#reply + 1] = result.allowed and 1 or 0
    reply[#reply + 1] = spent and result.remaining_after or result.remaining_before
    reply[#reply + 1] = math.ceil(spent and result.reset_after or result.reset_before)
    reply[#reply + 1] = math.ceil(result.retry)
  end
  return reply
end
