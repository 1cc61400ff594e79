"""The message and the reply of one trip of `redis`, and the Lua script that answers it."""

from __future__ import annotations

from concurrent.futures import Future

import attrs
import msgspec

from .rate_limits import LONGEST_S, Permit, RateLimit, RateLimiter, Wait

LEASE_S = 60.0
"""A permit expires after so many seconds, or at its request's deadline if that is sooner."""


@attrs.frozen
class Queued(Wait):
    """A wait, and what identifies its request in the queue.

    A request that asks again too late loses its place in the queue and keeps its number.
    """

    id: str = ""
    number: int | None = None  # In the queue of `epoch`.
    epoch: int = 0
    own: tuple[RateLimiter, Wait] | None = None


@attrs.frozen
class Ask:
    """One call of `acquire`, and its answer once there is one."""

    earlier: Queued
    left_s: float
    outcome: Future[Permit | Wait] = attrs.field(factory=Future)

    def packed(self, epoch: int) -> dict[str, object]:
        earlier = self.earlier
        left_s = min(self.left_s, LONGEST_S)
        packed = {"id": earlier.id, "left_s": left_s, "lease_s": min(left_s, LEASE_S)}
        known = earlier.number is not None and earlier.epoch == epoch
        return packed | ({"number": earlier.number} if known else {})


@attrs.frozen
class Told:
    """The outcome of a request."""

    id: str
    at: float
    counted: bool
    said: RateLimit | None = None
    pause_s: float | None = None

    def packed(self, now: float, start: tuple[int, int]) -> dict[str, object]:
        packed = {"id": self.id, "ago_s": max(0.0, now - self.at), "counted": self.counted}
        if self.pause_s is not None:
            packed["pause_s"] = min(self.pause_s, LONGEST_S)
        if self.said is None:
            return packed
        windows = zip((1, 60), start, strict=True)
        return packed | {"said": [_said_of(self.said, *window) for window in windows]}


def _said_of(said: RateLimit, window_s: int, start: int) -> dict[str, float]:
    """What the headers say of one window; without a policy for it, the configured limit holds."""
    packed: dict[str, float] = {}
    limits = [policy for policy in said.policies if policy.limit > 0]
    if limits:
        packed["limit"] = min((p.limit for p in limits if p.window_s == window_s), default=start)
    named = said.named_policy
    if named is not None and named.window_s == window_s and said.remaining is not None:
        packed["remaining"] = said.remaining
        # The header gives whole seconds, rounded down.
        packed["reset_s"] = (said.reset_seconds or 0.0) + 1.0
    return packed


class Seen(msgspec.Struct, array_like=True):
    """The reply of the script."""

    epoch: int  # When it began to count; another one after it lost its data.
    members: int
    paused_us: int
    pending: int
    waiting: int
    windows: list[tuple[int, int, int, int]]  # Length, limit, in use, available.
    answers: list[tuple[int, int, int]]  # Number, microseconds to wait, others ahead.
    at: float = 0.0  # By our clock.

    def paused_s(self, now: float) -> float:
        return max(0.0, self.at + self.paused_us / 1e6 - now)

    def reason(self, ahead: int) -> str:
        """Why a request with `ahead` others before it has to wait."""
        if self.paused_us:
            return f"paused for {self.paused_us / 1e6:.1f} s after a 429"
        length, limit, in_use, _ = min(self.windows, key=lambda window: window[3])
        return (
            f"{in_use} of {limit} requests in {length} s used by {self.members} processes,"
            f" {ahead} waiting before it"
        )


KEYS = ("places", "queue", "due", "members", "numbers", "state")

SCRIPT = """
-- Records the outcomes of a member's requests, then answers its asks. A member is the limiter of
-- one process. Times are microseconds of this server's clock; those in the message are seconds.
--   places    request -> when it was answered, or when its permit expires while it is pending.
--             It counts in each window for the length of the window after that.
--   queue     waiting request -> its number; the lowest is next
--   due       waiting request -> when it leaves the queue unless it asks again
--   members   member -> time of its last trip
--   numbers   member -> the number of its latest request
--   state     single numbers
local PLACES, QUEUE, DUE, MEMBERS, NUMBERS, STATE = unpack(KEYS)
local SECOND = 1000000
local LOOK_AGAIN = 5 * SECOND   -- longest wait: requests ahead may be gone by then
local GRACE = SECOND / 4        -- a request later than this leaves the queue, and keeps its number
local RAMP_STEP = SECOND / 5    -- after a pause, each step doubles how many may be pending
local MEMBER_FOR = 60 * SECOND
local KEPT_FOR = 180 * SECOND

local trip = cjson.decode(ARGV[1])
local time = redis.call('TIME')
local now = time[1] * SECOND + time[2]

local state = {}
local stored = redis.call('HGETALL', STATE)
for i = 1, #stored, 2 do state[stored[i]] = tonumber(stored[i + 1]) end
if state.now and now < state.now - SECOND then
    -- The clock was set back, or another server has taken over. Stored times lie in the future and
    -- would block all requests.
    redis.call('DEL', unpack(KEYS))
    state = {}
end
local epoch = state.epoch or now
local paused_until = state.paused_until or 0
local granted = state.granted or 0  -- how many permits were granted
local served = state.served or 0    -- the highest number that got a permit

local windows = {
    {length = SECOND, start = trip.burst},
    {length = 60 * SECOND, start = trip.steady},
}
for i, window in ipairs(windows) do
    window.stated = state['stated' .. i]
    window.taught_until = state['taught_until' .. i] or 0
    window.capped_until = state['capped_until' .. i] or 0
    window.last_grant = state['last_grant' .. i] or 0
end

local function limit(window)
    return math.min(window.stated or window.start, window.start)
end

local function used(window)
    return redis.call('ZCOUNT', PLACES, '(' .. string.format('%.0f', now - window.length), '+inf')
end

-- Outcomes. A request is stored even if it is unknown: its permit may have expired, and after a
-- loss of data the members report again.

local function hear(window, at, said)
    if said.limit then  -- tighten at once; loosen a window's length after the last header
        if said.limit <= limit(window) or at >= window.taught_until then
            window.stated = said.limit
            window.taught_until = at + window.length
        end
    end
    if said.remaining then  -- fewer than we count: others use the account too
        window.capped_until = 0
        if said.remaining < limit(window) - used(window) then
            window.capped_until = at + math.min(said.reset_s * SECOND, window.length)
            window.last_grant = granted + said.remaining
        end
    end
end

redis.call('ZREMRANGEBYSCORE', PLACES, '-inf', now - 60 * SECOND)
for _, outcome in ipairs(trip.outcomes) do
    local at = now - outcome.ago_s * SECOND
    if outcome.counted then
        redis.call('ZADD', PLACES, at, outcome.id)
    else
        granted = granted - redis.call('ZREM', PLACES, outcome.id)
    end
    if outcome.pause_s then
        paused_until = math.max(paused_until, at + outcome.pause_s * SECOND)
    end
    for i, said in ipairs(outcome.said or {}) do hear(windows[i], at, said) end
end

-- Members, and waiting requests that did not ask again in time.

redis.call('ZADD', MEMBERS, now, trip.member)
redis.call('ZREMRANGEBYSCORE', MEMBERS, '-inf', now - MEMBER_FOR)
for _, late in ipairs(redis.call('ZRANGEBYSCORE', DUE, '-inf', now, 'LIMIT', 0, 1000)) do
    redis.call('ZREM', DUE, late)
    redis.call('ZREM', QUEUE, late)
end

-- Permits.

local pending = redis.call('ZCOUNT', PLACES, '(' .. string.format('%.0f', now), '+inf')
for _, window in ipairs(windows) do window.used = used(window) end

local function free(window)
    local places = limit(window) - window.used
    if now < window.capped_until then
        places = math.min(places, window.last_grant - granted)
    end
    return places
end

local function free_now()
    if now < paused_until then return 0 end
    local places = math.min(free(windows[1]), free(windows[2]))
    if now < paused_until + 10 * RAMP_STEP then
        places = math.min(places, math.floor(2 ^ ((now - paused_until) / RAMP_STEP)) - pending)
    end
    return places
end

-- The shortest time until a request with `ahead` others before it can get a permit.
local function wait(ahead)
    local least = SECOND / 1000
    if now < paused_until + 10 * RAMP_STEP then
        local ramp = RAMP_STEP * math.log(pending + ahead + 1) / math.log(2)
        least = math.max(least, paused_until + ramp - now)
    end
    for _, window in ipairs(windows) do
        -- Each free place serves one request per window length.
        local places = limit(window)
        local blocked = math.floor(ahead / places) * window.length
        local nth = window.used + ahead % places - places
        if nth >= 0 then
            local oldest = redis.call('ZCOUNT', PLACES, '-inf', now - window.length)
            local place = redis.call('ZRANGE', PLACES, oldest + nth, oldest + nth, 'WITHSCORES')
            local answered = math.min(tonumber(place[2] or now), now)
            blocked = blocked + answered + window.length - now
        end
        if now < window.capped_until and window.last_grant - granted <= ahead then
            blocked = math.max(blocked, window.capped_until - now)
        end
        least = math.max(least, blocked)
    end
    return least
end

-- Fairness: each member counts its own requests, and the lowest number is served first, so members
-- take turns. A member that was idle starts at most one burst limit behind the others.
local function next_number()
    local last = tonumber(redis.call('ZSCORE', NUMBERS, trip.member) or 0)
    local number = math.max(last + 1, served - limit(windows[1]))
    redis.call('ZADD', NUMBERS, number, trip.member)
    return number
end

local function answer(ask)
    local number = ask.number or next_number()
    local ahead = redis.call('ZCOUNT', QUEUE, '-inf', '(' .. number)
    local places = free_now()
    redis.call('ZREM', QUEUE, ask.id)
    redis.call('ZREM', DUE, ask.id)
    if ahead < places then
        redis.call('ZADD', PLACES, now + ask.lease_s * SECOND, ask.id)
        for _, window in ipairs(windows) do window.used = window.used + 1 end
        pending, granted, served = pending + 1, granted + 1, math.max(served, number)
        return {number, 0, 0}
    end
    local after = wait(ahead)
    if after <= ask.left_s * SECOND then  -- else it gives up and must not hold up the queue
        -- Free places are kept for requests ahead, which may not ask again: look again soon.
        after = math.min(after, places > 0 and GRACE or LOOK_AGAIN)
        redis.call('ZADD', QUEUE, number, ask.id)
        redis.call('ZADD', DUE, now + after + GRACE, ask.id)
    end
    return {number, math.ceil(after), ahead}
end

local answers = {}
-- A member that names another epoch has to report its requests to this one first.
if trip.epoch == 0 or trip.epoch == epoch then
    for i, ask in ipairs(trip.asks) do answers[i] = answer(ask) end
end

redis.call('ZREMRANGEBYSCORE', NUMBERS, '-inf', served - limit(windows[1]) - 1)
local saved = {
    'now', now, 'epoch', epoch, 'paused_until', paused_until, 'granted', granted, 'served', served,
}
local seen = {}
for i, window in ipairs(windows) do
    for _, name in ipairs({'stated', 'taught_until', 'capped_until', 'last_grant'}) do
        if window[name] then
            saved[#saved + 1] = name .. i
            saved[#saved + 1] = window[name]
        end
    end
    seen[i] = {window.length / SECOND, limit(window), window.used, math.max(0, free(window))}
end
redis.call('HSET', STATE, unpack(saved))
for _, key in ipairs(KEYS) do
    redis.call('PEXPIRE', key, math.ceil((KEPT_FOR + math.max(0, paused_until - now)) / 1000))
end
local members, waiting = redis.call('ZCARD', MEMBERS), redis.call('ZCARD', QUEUE)
local paused = math.ceil(math.max(0, paused_until - now))
return {epoch, members, paused, pending, waiting, seen, answers}
"""
