-- Decides every limit of one request in one step, all or nothing, on the server's clock.
-- KEYS: one counter per limit. ARGV: six values per limit: algorithm (b or w), limit, period in microseconds, burst,
-- cost, shadow (1 or 0). Reply: the time, then per limit: allowed, remaining, reset, retry (microseconds).
-- The same arithmetic as algorithms.ts, step by step; a test holds the two against each other.

local function bucket(raw, now, limit, period, burst, cost)
  local step = period / limit
  local room = burst * step
  local tat = raw and struct.unpack("<d", raw) or 0
  -- A theoretical arrival time further ahead than the room is one that a clock set back left behind.
  local base = math.min(math.max(tat, now), now + room)
  local level = base - now
  local after = base + cost * step
  local over = (after - now) - room
  return {
    allowed = over <= 0,
    retry = over > 0 and over or 0,
    remaining_before = math.floor((room - level) / step + 0.001),
    reset_before = level,
    remaining_after = math.floor((room - (after - now)) / step + 0.001),
    reset_after = after - now,
    value = struct.pack("<d", after),
    ttl = after - now,
  }
end

local function window(raw, now, limit, period, cost)
  local index = math.floor(now / period)
  local elapsed = now - index * period
  local previous, current = 0, 0
  if raw then
    local at, p, c = struct.unpack("<ddd", raw)
    if at >= index then previous, current = p, c
    elseif at == index - 1 then previous = c end
  end
  local fraction = elapsed / period
  local estimate = previous * (1 - fraction) + current
  local allowed = estimate + cost <= limit
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
    remaining_before = math.max(0, math.floor(limit - estimate + 0.001)),
    reset_before = period - elapsed,
    remaining_after = math.max(0, math.floor(limit - estimate - cost + 0.001)),
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
