from __future__ import annotations

import asyncio
import threading
from datetime import UTC, datetime

import httpx
import pytest
from anyio.from_thread import start_blocking_portal

from klaviyo_variant_jobs import AsyncClient, KlaviyoError
from klaviyo_variant_jobs.sandbox import Sandbox, VirtualClock
from klaviyo_variant_jobs.sandbox.virtual_time import LOOPS_IN_TESTS


def test_sleep_moves_both_times_by_as_much() -> None:
    clock = VirtualClock(start=datetime(2026, 7, 1, tzinfo=UTC))
    clock.sleep(90.5)
    assert clock.monotonic() == 90.5
    assert clock.time() == datetime(2026, 7, 1, 0, 1, 30, 500_000, tzinfo=UTC).timestamp()


def test_a_negative_sleep_does_not_turn_time_back() -> None:
    clock = VirtualClock()
    clock.sleep(-1)
    assert clock.monotonic() == 0


def test_chance_repeats_with_its_seed() -> None:
    same, again, other = VirtualClock(seed=1), VirtualClock(seed=1), VirtualClock(seed=2)
    first = [same.random() for _ in range(3)]
    assert first == [again.random() for _ in range(3)]
    assert first != [other.random() for _ in range(3)]
    assert all(0 <= number < 1 for number in first)


def test_waiting_for_an_event_that_is_set_takes_no_time(clock: VirtualClock) -> None:
    event = threading.Event()
    event.set()
    assert clock.wait(event, 10)
    assert clock.monotonic() == 0


def test_waiting_for_an_event_that_is_not_set_takes_all_the_time(clock: VirtualClock) -> None:
    assert not clock.wait(threading.Event(), 10)
    assert clock.monotonic() == 10


def test_waiting_without_a_limit_waits_for_the_thread_that_sets_the_event(
    clock: VirtualClock,
) -> None:
    event = threading.Event()
    thread = threading.Thread(target=event.set)
    thread.start()
    assert clock.wait(event, None)
    thread.join()
    assert clock.monotonic() == 0


def test_waiting_gives_another_thread_a_moment_to_set_the_event(clock: VirtualClock) -> None:
    class SetMeanwhile(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            self.set()
            return super().wait(timeout)

    end = threading.Event()
    thread = threading.Thread(target=end.wait)
    thread.start()
    assert clock.wait(SetMeanwhile(), 10)
    assert clock.monotonic() == 0
    end.set()
    thread.join()


def test_sleeps_of_many_threads_add_up(clock: VirtualClock) -> None:
    def sleep_often() -> None:
        for _ in range(100):
            clock.sleep(0.5)

    threads = [threading.Thread(target=sleep_often) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert clock.monotonic() == 400


def test_tasks_sleep_beside_one_another(clock: VirtualClock) -> None:
    async def main() -> str:
        await asyncio.gather(*(asyncio.sleep(seconds) for seconds in range(1, 101)))
        return "done"

    assert clock.run(main()) == "done"
    assert clock.monotonic() == 100


def test_tasks_wake_in_the_order_of_their_timers(clock: VirtualClock) -> None:
    woken: list[tuple[int, float]] = []

    async def sleeper(seconds: int) -> None:
        await asyncio.sleep(seconds)
        woken.append((seconds, clock.monotonic()))

    async def main() -> None:
        await asyncio.gather(*map(sleeper, (3, 1, 2)))

    clock.run(main())
    assert woken == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_timeouts_pass_in_virtual_time(clock: VirtualClock) -> None:
    async def main() -> None:
        async with asyncio.timeout(3600):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        clock.run(main())
    assert clock.monotonic() == 3600


def test_time_goes_on_from_one_run_to_the_next(clock: VirtualClock) -> None:
    clock.sleep(5)
    clock.run(asyncio.sleep(5))
    clock.run(asyncio.sleep(5))
    assert clock.monotonic() == 15


def test_a_blocking_sleep_inside_a_task_moves_the_timers_too(clock: VirtualClock) -> None:
    async def main() -> float:
        timer = asyncio.create_task(asyncio.sleep(10))
        clock.sleep(7)
        await timer
        return clock.monotonic()

    assert clock.run(main()) == 17


def test_a_loop_that_would_wait_for_ever_raises(clock: VirtualClock) -> None:
    async def main() -> None:
        await asyncio.Event().wait()

    with pytest.raises(RuntimeError, match="virtual time stands still"):
        clock.run(main())


def test_the_loop_lets_another_thread_hand_it_something(clock: VirtualClock) -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[str] = loop.create_future()
        thread = threading.Thread(
            target=lambda: loop.call_soon_threadsafe(answer.set_result, "from the thread")
        )
        thread.start()
        result = await answer
        thread.join()
        return result

    assert clock.run(main()) == "from the thread"
    assert clock.monotonic() == 0


def test_work_in_an_executor_is_waited_for_before_timers_fire(clock: VirtualClock) -> None:
    release = threading.Event()

    def work() -> str:
        release.wait(5)
        return "worked"

    async def main() -> str:
        async with asyncio.timeout(60):
            job = asyncio.create_task(asyncio.to_thread(work))
            await asyncio.sleep(0)
            release.set()
            return await job

    assert clock.run(main()) == "worked"
    assert clock.monotonic() == 0


def test_a_loop_of_ones_own_can_live_in_virtual_time(clock: VirtualClock) -> None:
    with asyncio.Runner(loop_factory=clock.new_event_loop) as runner:
        runner.run(asyncio.sleep(3600))
    assert clock.monotonic() == 3600


def test_a_loop_in_a_thread_may_idle_between_what_others_ask_of_it(
    clock: VirtualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("klaviyo_variant_jobs.sandbox.virtual_time.STANDSTILL_GRACE", 0.0)
    sandbox = Sandbox(jobs=1, clock=clock)
    http_client = httpx.AsyncClient(transport=sandbox.transport())
    client = AsyncClient("pk_portal", http_client=http_client, clock=clock)
    options = {"loop_factory": clock.new_event_loop}  # As TestClient(app, backend_options=…) has.
    with start_blocking_portal(backend_options=options) as portal:
        for _ in range(3):
            assert len(portal.call(client.get_page).jobs) == 1
            portal.call(asyncio.sleep, 3600)
    assert clock.monotonic() == 3 * 3600


def test_somebody_elses_loop_is_told_at_once_what_to_do(clock: VirtualClock) -> None:
    sandbox = Sandbox(jobs=1, clock=clock)
    http_client = httpx.AsyncClient(transport=sandbox.transport())
    client = AsyncClient("pk_test", http_client=http_client, clock=clock)
    with pytest.raises((RuntimeError, KlaviyoError), match=r"clock\.run") as caught:
        asyncio.run(client.get_page())
    assert "clock.new_event_loop" in str(caught.value)
    assert LOOPS_IN_TESTS in str(caught.value)
    assert sandbox.requests == []


def test_a_loop_of_another_virtual_clock_is_somebody_elses_too(clock: VirtualClock) -> None:
    http_client = httpx.AsyncClient(transport=Sandbox(jobs=1, clock=clock).transport())
    client = AsyncClient("pk_test", http_client=http_client, clock=clock)
    with pytest.raises((RuntimeError, KlaviyoError), match=r"clock\.run"):
        VirtualClock().run(client.get_page())


def test_in_the_machines_time_any_loop_will_do() -> None:
    http_client = httpx.AsyncClient(transport=Sandbox(jobs=1).transport())
    client = AsyncClient("pk_test_any_loop", http_client=http_client)
    assert len(asyncio.run(client.get_page()).jobs) == 1
