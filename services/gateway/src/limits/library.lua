-- Runs the operations of a batch in one step on the server's clock: decides requests, each by all of its limits or none;
-- leases quota out; ends, keeps and sets right what requests hold.
-- KEYS: each counter once; of a limit that holds something, the sorted set of its holds comes right after it.
-- ARGV: the operations, one after the other:
--   d <n> <hold>, then n times <key> <spec> <cost>: decides one request. p: the same, and spends nothing.
--   g <key> <spec> <want> <returned> <from>: takes back what a lease of that time left, and leases up to so much.
--   r <key> <spec> <from> <cost>: takes back what a request of that time spent, as far as it has not drained.
--   s <key> <spec> <member> <from> <reserved> <used>: sets right what was reserved.
--   x <key> <member>: gives a place back. k <key> <spec> <member>: keeps a place or a reservation for its time again.
-- A key is its index in KEYS; a spec is Limit.spec. Reply: the time; of d and p, for each limit, allowed, remaining, reset,
-- retry (microseconds); of g granted, remaining, reset. The same arithmetic as algorithms.ts and memory-store.ts, step by
-- step; a test holds the two against each other.

-- In requests: above what sums of fractions lose, below what anybody could notice.
local EPSILON = 0.000001
local LEASE_MICROS = 200000
-- A place that is free again is told to nobody: who was denied one may try again after this time.
local PLACE_RETRY = 1000000
-- Forgotten reservations that one request takes back, so that no request has to do it for all.
local MOST_EXPIRED = 32
local MOST_SPECS = 1000

local specs, specs_held = {}, 0

local function parse(text)
  local known = specs[text]
  if known then return known end
  local kind, limit, period, burst, reserve, hold, shadow =
    string.match(text, "^(%a) (%S+) (%S+) (%S+) (%S+) (%S+) (%d)$")
  local spec = {
    kind = kind, limit = tonumber(limit), period = tonumber(period), burst = tonumber(burst),
    reserve = tonumber(reserve), hold = tonumber(hold), shadow = shadow == "1",
  }
  if specs_held >= MOST_SPECS then specs, specs_held = {}, 0 end
  specs[text] = spec
  specs_held = specs_held + 1
  return spec
end

-- A level is kept with the time it was true at: a theoretical arrival time alone, at 10^15, holds no fraction of a
-- microsecond, and a burst of one would then never fit.
local function unpack_counter(spec, raw)
  -- Every field at once: a table that grows is built anew each time.
  local at, previous, current = false, 0, 0
  if spec.reserve > 0 then
    local slot, before, inslot = 0, 0, 0
    if raw then at, previous, current, slot, before, inslot = struct.unpack("<dddddd", raw) end
    return {
      at = at, previous = previous, current = current, slot = slot, before = before, inslot = inslot,
      used = 0, most = 0, reset = 0, ttl = 0, spec = spec, dirty = false,
    }
  end
  if raw then
    if spec.kind == "b" then at, current = struct.unpack("<dd", raw)
    else at, previous, current = struct.unpack("<ddd", raw) end
  end
  return {
    at = at, previous = previous, current = current, used = 0, most = 0, reset = 0, ttl = 0, spec = spec, dirty = false,
  }
end

local function pack_counter(spec, c)
  if spec.reserve > 0 then return struct.pack("<dddddd", c.at, c.previous, c.current, c.slot, c.before, c.inslot) end
  if spec.kind == "b" then return struct.pack("<dd", c.at, c.current) end
  return struct.pack("<ddd", c.at, c.previous, c.current)
end

-- Moves a counter on to now, and says how much is used and may be used.
local function read(spec, c, now)
  if spec.kind == "b" then
    local step = spec.period / spec.limit
    local at = c.at or now
    -- From further ahead than the whole burst lasts: a clock that was set back left it behind.
    local level = at - now > spec.burst * step and 0 or math.max(0, c.current - math.max(0, now - at) / step)
    c.at, c.previous, c.current = now, 0, level
    c.used, c.most, c.reset, c.ttl = level, spec.burst - spec.reserve, level * step, level * step
    return
  end
  local period = spec.period
  local index = math.floor(now / period)
  local elapsed = now - index * period
  -- The next window's: a clock that was set back a little. From further ahead: forgotten.
  if c.at ~= index and c.at ~= index + 1 then
    c.previous = c.at == index - 1 and c.current or 0
    c.current = 0
  end
  c.at = index
  c.used, c.most = c.previous * (1 - elapsed / period) + c.current, spec.limit - spec.reserve
  c.reset, c.ttl = period - elapsed, 2 * period - elapsed
end

local function retry_after(spec, c, cost)
  if c.used + cost <= c.most + EPSILON then return 0 end
  if spec.kind == "b" then return (c.used + cost - c.most) * spec.period / spec.limit end
  local period = spec.period
  local fraction = (period - c.reset) / period
  if c.current + cost <= c.most then return (1 - (c.most - cost - c.current) / c.previous - fraction) * period end
  return c.reset + math.max(0, 1 - (c.most - cost) / c.current) * period
end

local function spend(spec, c, amount)
  c.current, c.used = c.current + amount, c.used + amount
  if spec.kind == "b" then
    local drained = c.used * (spec.period / spec.limit)
    c.reset, c.ttl = drained, drained
  end
  c.dirty = true
end

-- Sets right what was used at `from`; more than was thought always counts.
local function correct(spec, c, now, from, difference)
  if spec.kind == "b" then
    c.current = math.max(0, c.current + difference)
  else
    local index = math.floor(from / spec.period)
    if index == c.at - 1 then c.previous = math.max(0, c.previous + difference)
    elseif index == c.at or difference > 0 then c.current = math.max(0, c.current + difference)
    else return end
  end
  read(spec, c, now)
  c.dirty = true
end

local function lease(spec, c, now, want)
  local slot = math.floor(now / LEASE_MICROS)
  local before, inslot = 0, 0
  if c.slot == slot or c.slot == slot + 1 then before, inslot = c.before, c.inslot
  elseif c.slot == slot - 1 then before = c.inslot end
  local granted = math.max(0, math.floor(math.min(want, (c.most - c.used) / 2, spec.reserve - before - inslot)))
  c.slot, c.before, c.inslot = slot, before, inslot + granted
  spend(spec, c, granted)
  return granted
end

local function run(keys, args)
  local time = redis.call("TIME")
  local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
  local reply, counters = { now }, {}
  local raw = #keys > 0 and redis.call("MGET", unpack(keys)) or {}

  local function counter_of(index, spec)
    local c = counters[index]
    if c then return c end
    if spec.kind == "c" then
      redis.call("ZREMRANGEBYSCORE", keys[index], "-inf", now)
      c = { used = redis.call("ZCARD", keys[index]), most = spec.limit, reset = 0 }
    else
      c = unpack_counter(spec, raw[index])
      read(spec, c, now)
      if spec.hold > 0 then
        -- Reservations that nobody has set right or kept: their gateway is gone. They are given back.
        local holds = keys[index + 1]
        for _, member in ipairs(redis.call("ZRANGEBYSCORE", holds, "-inf", now, "LIMIT", 0, MOST_EXPIRED)) do
          local from, amount = string.match(member, ":(%d+):(%d+)$")
          redis.call("ZREM", holds, member)
          correct(spec, c, now, tonumber(from), -tonumber(amount))
        end
      end
    end
    counters[index] = c
    return c
  end

  -- Reservations are remembered for as long as their counter remembers them: else they could not be given back.
  local function remember(key, spec)
    local memory = 0
    if spec.kind == "b" then memory = spec.burst * spec.period / spec.limit
    elseif spec.kind == "w" then memory = 2 * spec.period end
    redis.call("PEXPIRE", key, math.ceil((spec.hold + memory) / 1000) + 1)
  end

  local function hold(key, member, spec)
    redis.call("ZADD", key, now + spec.hold, member)
    remember(key, spec)
  end

  local i = 1
  while i <= #args do
    local op = args[i]
    if op == "d" or op == "p" then
      local n, id = tonumber(args[i + 1]), args[i + 2]
      local first, denied = i + 3, false
      for j = 0, n - 1 do
        local at = first + 3 * j
        local spec = parse(args[at + 1])
        local c = counter_of(tonumber(args[at]), spec)
        if not spec.shadow and c.used + tonumber(args[at + 2]) > c.most + EPSILON then denied = true end
      end
      for j = 0, n - 1 do
        local at = first + 3 * j
        local index, spec, cost = tonumber(args[at]), parse(args[at + 1]), tonumber(args[at + 2])
        local c = counter_of(index, spec)
        local allowed = c.used + cost <= c.most + EPSILON
        local retry = 0
        if not allowed then retry = spec.kind == "c" and PLACE_RETRY or retry_after(spec, c, cost) end
        if allowed and not denied and op == "d" then
          if spec.kind == "c" then
            c.used = c.used + 1
            hold(keys[index], id, spec)
          else
            spend(spec, c, cost)
            if spec.hold > 0 then hold(keys[index + 1], string.format("%s:%.0f:%.0f", id, now, cost), spec) end
          end
        end
        local size = #reply
        reply[size + 1] = allowed and 1 or 0
        reply[size + 2] = math.max(0, math.floor(c.most - c.used + EPSILON))
        reply[size + 3] = math.ceil(c.reset)
        reply[size + 4] = math.ceil(retry)
      end
      i = first + 3 * n
    elseif op == "g" then
      local spec = parse(args[i + 2])
      local c = counter_of(tonumber(args[i + 1]), spec)
      local returned = tonumber(args[i + 4])
      if returned > 0 then correct(spec, c, now, tonumber(args[i + 5]), -returned) end
      local size = #reply
      reply[size + 1] = lease(spec, c, now, tonumber(args[i + 3]))
      reply[size + 2] = math.max(0, math.floor(c.most - c.used + EPSILON))
      reply[size + 3] = math.ceil(c.reset)
      i = i + 6
    elseif op == "r" then
      local spec = parse(args[i + 2])
      local c = counter_of(tonumber(args[i + 1]), spec)
      local from, amount = tonumber(args[i + 3]), tonumber(args[i + 4])
      if spec.kind == "b" then amount = amount - math.max(0, (now - from) * spec.limit / spec.period) end
      if amount > 0 then correct(spec, c, now, from, -amount) end
      i = i + 5
    elseif op == "s" then
      local index, spec = tonumber(args[i + 1]), parse(args[i + 2])
      local c = counter_of(index, spec)
      local from, reserved, used = tonumber(args[i + 4]), tonumber(args[i + 5]), tonumber(args[i + 6])
      if redis.call("ZREM", keys[index + 1], args[i + 3]) == 1 then correct(spec, c, now, from, used - reserved)
      else correct(spec, c, now, now, used) end
      i = i + 7
    elseif op == "x" then
      local index = tonumber(args[i + 1])
      local freed = redis.call("ZREM", keys[index], args[i + 2])
      if counters[index] then counters[index].used = counters[index].used - freed end
      i = i + 3
    else
      local spec = parse(args[i + 2])
      local key = keys[tonumber(args[i + 1]) + (spec.kind == "c" and 0 or 1)]
      if redis.call("ZADD", key, "XX", "CH", now + spec.hold, args[i + 3]) == 1 then remember(key, spec) end
      i = i + 4
    end
  end

  for index, c in pairs(counters) do
    if c.dirty then
      -- What was leased out is remembered for as long as it may be spent, also by a counter that is empty before.
      local ttl = c.spec.reserve > 0 and math.max(c.ttl, 2 * LEASE_MICROS) or c.ttl
      redis.call("SET", keys[index], pack_counter(c.spec, c), "PX", math.ceil(ttl / 1000) + 1)
    end
  end
  return reply
end
