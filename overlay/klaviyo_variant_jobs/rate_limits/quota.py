"""How many requests an account may send, and when: windows, what others use, pauses."""

from __future__ import annotations

import math
import sys
from bisect import bisect_right
from collections import deque

import attrs

from .headers import LONGEST_S, MOST_WINDOWS, Policy, RateLimit, believable

# How others' share is guessed; `scripts/bench pacing` shows what these do against a stranger.
_HELD_S = 20.0  # at least: how long a share is held before a quarter of it is tried
_FIRST_GUESS = 16  # a refused burst that ours does not explain: others use one in so many
_KEPT = 10  # one in so many of each limit stays ours, whatever is guessed
_RESOLVED_S = 10  # in shorter windows `reset`, in whole seconds, does not tell how far they are

# Answers are remembered for this much longer than the longest window: a request that took longer
# says nothing of others.
_SLOW_ANSWER_S = 60.0

# After a pause one request may be in flight, twice as many with each of these steps.
_RAMP_STEP_S = 0.2

# Above the rounding errors of a clock that counts seconds since boot.
TICK_S = 1e-9


@attrs.frozen(kw_only=True)
class WindowState:
    """One window at one moment."""

    window_s: int
    limit: int
    in_use: int
    """Places that our own requests hold, those being answered included."""
    left_to_others: int
    """Places left to whoever else uses the account."""


@attrs.define(eq=False)
class _Window:
    """One limit over `length` seconds, as far as it is known."""

    length: int
    limit: int
    ceiling: int | None  # None: only headers told us of this window.
    stated: int = attrs.field(default=attrs.Factory(lambda window: window.limit, takes_self=True))
    taught_until: float = -math.inf
    others: int = 0
    others_until: float = -math.inf

    def room(self, now: float) -> int:
        """Places that are ours."""
        if not self.others:
            return self.limit
        while self.others and now >= self.others_until:
            self.others = self.others * 3 // 4
            self.others_until += self._held_s()
        return min(self.limit, max(self.stated - self.others, -(-self.limit // _KEPT)))

    def hear(self, now: float, stated: int) -> bool:
        """Tighten at once; loosen, to the ceiling at most, when what taught us has passed.

        Tells whether that changed anything.
        """
        limit = stated if self.ceiling is None else min(stated, self.ceiling)
        if limit > self.limit and now < self.taught_until:
            return False
        changed = (limit, stated) != (self.limit, self.stated)
        if limit < self.limit:
            self.others = 0  # What looked like others was the limit that we did not know.
        self.limit, self.stated = limit, stated
        self.taught_until = now + self.length
        return changed

    def leave(self, now: float, others: float) -> None:
        """Leave room for `others` requests; for fewer when the window that taught it has passed."""
        if others >= self.others or now >= self.others_until - self.length:
            self.others = min(round(others), self.stated)
            self.others_until = now + self._held_s()

    def expected(self, others: int, left_s: float) -> float:
        """How many requests of others the whole window will hold.

        They made `others` of them until `left_s` before its end, and go on at that rate. What was
        known before weighs as much as a thirtieth of a window, lest its first second decide.
        """
        seen_s = self.length - left_s
        return others + left_s * (others + self.others / 30) / (seen_s + self.length / 30)

    def _held_s(self) -> float:
        return max(_HELD_S, 2.0 * self.length)


class Quota:
    """Limits as they are known, and what has been used of them. Not for several threads at once."""

    def __init__(self, burst: int, steady: int) -> None:
        self.in_flight = 0
        self._windows = {1: _Window(1, burst, burst), 60: _Window(60, steady, steady)}
        self._heard: tuple[Policy, ...] = ()
        self._stated: list[tuple[_Window, int]] = []  # What `_heard` means.
        self._answers: deque[float] = deque()  # When requests were answered, oldest first.
        self._remembered_s = 60.0 + _SLOW_ANSWER_S
        self._paused_until = -math.inf
        self._ramped_at = -math.inf

    def free_places(self, now: float) -> int:
        """How many requests may be sent at once."""
        self._forget_windows(now)
        if now < self._paused_until:
            return 0
        free = sys.maxsize
        if now < self._ramped_at:
            free = int(2.0 ** ((now - self._paused_until) / _RAMP_STEP_S))
        for window in self._windows.values():
            room = window.room(now) - self._answered_since(now - window.length)
            if room < free:
                free = room
        return free - self.in_flight

    def wait_s(self, now: float, ahead: int) -> float:
        """Seconds before which a request with `ahead` others before it gets no place."""
        wait = self._paused_until - now
        if now < self._ramped_at:
            wait += math.log2(self.in_flight + 1) * _RAMP_STEP_S
        for window in self._windows.values():
            wait = max(wait, self._blocked_s(window, now, ahead))
        return wait

    def reason(self, now: float) -> str:
        """Why a request has to wait, in words for a log."""
        if now < self._paused_until:
            return f"paused for {self._paused_until - now:.1f} s after a 429"
        full = max(self._windows.values(), key=lambda window: self._blocked_s(window, now, 0))
        in_use = self.in_flight + self._answered_since(now - full.length)
        others = f", {full.limit - full.room(now)} left to others" if full.others else ""
        ramp = ", starting again slowly after a 429" if self.ramps(now) else ""
        return f"{in_use} of {full.limit} requests in {full.length} s used{others}{ramp}"

    def windows(self, now: float) -> tuple[WindowState, ...]:
        """All windows, the shortest first."""
        self._forget_windows(now)
        return tuple(
            WindowState(
                window_s=length,
                limit=window.limit,
                in_use=self.in_flight + self._answered_since(now - length),
                left_to_others=window.limit - window.room(now),
            )
            for length, window in sorted(self._windows.items())
        )

    def paused_for_s(self, now: float) -> float:
        """Seconds until the pause after a 429 is over."""
        return max(0.0, self._paused_until - now)

    def ramps(self, now: float) -> bool:
        """Whether there is a pause, or a slow start after one."""
        return now < self._ramped_at

    def remember(self, now: float) -> None:
        """A request that was in flight has been answered, or failed and may have been counted."""
        answers = self._answers
        # Threads read the clock before they get here; the order has to hold all the same.
        answers.append(now if not answers or now > answers[-1] else answers[-1])
        while answers[0] < now - self._remembered_s:
            answers.popleft()

    def learn(self, now: float, sent_at: float, said: RateLimit) -> bool:
        """Take in what an answer said; tells whether that changes who may send."""
        changed = False
        # The same object for the same header, as a rule; another one costs only time.
        if said.policies and said.policies is not self._heard:
            self._heard = said.policies
            self._stated = self._statements(believable(said.policies))
            changed = True
        for window, limit in self._stated if said.policies else ():
            if limit == window.limit:
                window.taught_until = now + window.length
            else:
                changed |= window.hear(now, limit)
        if said.limit is not None and said.remaining is not None:
            used = said.limit - said.remaining
            if used - self.in_flight > 1:  # Else there is only this one, or nothing to explain.
                changed |= self._learn_others(now, sent_at, said, used)
        return changed

    def refuse(self, now: float, sent_at: float, pause_s: float) -> bool:
        """Pause after a 429; tells whether the pause became longer by a second or more."""
        self._blame_others(now, sent_at, pause_s)
        until = now + min(pause_s, LONGEST_S)
        if until <= self._paused_until:
            return False
        much_later = until - self._paused_until > 1.0
        self._paused_until = until
        self._ramped_at = until + math.log2(self._windows[1].limit + 1) * _RAMP_STEP_S
        return much_later

    def _answered_since(self, moment: float) -> int:
        return len(self._answers) - bisect_right(self._answers, moment + TICK_S)

    def _blocked_s(self, window: _Window, now: float, ahead: int) -> float:
        room = window.room(now)
        live = self._answered_since(now - window.length)
        # One place serves several of those ahead in turn, and each holds it for a window.
        rounds, nth = divmod(ahead, room)
        nth += live + self.in_flight - room
        blocked = float(rounds * window.length)
        if nth >= live:
            blocked += window.length  # Still in flight: held for a window once it is answered.
        elif nth >= 0:
            blocked += self._answers[nth - live] + window.length - now
        if window.others:
            blocked = min(blocked, window.others_until - now)
        return blocked if window.ceiling else min(blocked, window.taught_until - now)

    def _forget_windows(self, now: float) -> None:
        """Drop windows that only headers told us of, when what told us has passed."""
        for window in tuple(self._windows.values()) if len(self._windows) > 2 else ():
            if window.ceiling is None and now >= window.taught_until:
                del self._windows[window.length]
                self._heard = ()

    def _statements(self, limits: dict[int, int]) -> list[tuple[_Window, int]]:
        """Each window with what is said of it; where nothing is, our own start is good again."""
        for length, limit in limits.items():
            if length not in self._windows and len(self._windows) < MOST_WINDOWS:
                self._windows[length] = _Window(length, limit, None)
        self._remembered_s = max(self._windows) + _SLOW_ANSWER_S
        found = ((w, limits.get(w.length, w.ceiling)) for w in self._windows.values() if limits)
        return [(window, limit) for window, limit in found if limit is not None]

    def _learn_others(self, now: float, sent_at: float, said: RateLimit, used: int) -> bool:
        named = said.named_policy
        window = self._windows.get(named.window_s) if named else None
        if window is None:
            return False
        left_s = said.reset_seconds or 0.0
        others = self._others(sent_at, window, used, left_s)
        if window.length >= _RESOLVED_S and (others or window.others):
            window.leave(now, window.expected(others, left_s))
        elif others:
            window.leave(now, others)
        else:
            return False
        return True

    def _others(self, sent_at: float, window: _Window, used: int, left_s: float) -> int:
        """How many of the `used` places of the server's window our requests cannot explain.

        The window began a length before its end, which is at least `left_s` less the rounding of a
        second after the request was sent. Ours are those in flight or answered since.
        """
        most = used - self.in_flight
        if most <= 0:
            return 0
        since = sent_at - window.length + max(left_s - 1.0, 0.0)
        answers = self._answers
        if most <= len(answers) and answers[-most] > since:
            return 0
        forgotten = bool(answers) and since < answers[-1] - self._remembered_s
        return 0 if forgotten else most - self._answered_since(since)

    def _blame_others(self, now: float, sent_at: float, pause_s: float) -> None:
        """Whatever refused us had no room, and we kept to what we knew."""
        # The shortest window that a wait this long fits into is the one that was full.
        full = min((length for length in self._windows if length >= pause_s), default=None)
        if full is None:
            return
        window = self._windows[full]
        if self.in_flight + self._answered_since(now - full) > window.limit:
            return  # We did not keep to it: the limit has just been tightened.
        least = max(1, window.stated // _FIRST_GUESS)
        if full >= _RESOLVED_S:
            others = self._others(sent_at, window, window.stated, pause_s)
            window.leave(now, max(least, window.expected(others, pause_s)))
        elif sent_at >= self._paused_until:  # Else one volley would double it many times.
            window.leave(now, max(least, 2 * window.others))
