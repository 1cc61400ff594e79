"""The fixtures for other people's tests, each suite run by a pytest of its own."""

from __future__ import annotations

import pytest

from klaviyo_variant_jobs.sandbox.virtual_time import LOOPS_IN_TESTS

pytest_plugins = "pytester"

ENABLED = 'pytest_plugins = ["klaviyo_variant_jobs.sandbox.pytest_plugin"]\n'

ASYNC_TESTS = """
    import asyncio
    import time
    import pytest
    from klaviyo_variant_jobs.sandbox import SandboxJob

    @pytest.mark.MARK
    async def test_waits(klaviyo_async_client, klaviyo_sandbox, klaviyo_clock):
        assert klaviyo_clock.monotonic() == 0
        klaviyo_sandbox.add_jobs(*[SandboxJob()] * 150)
        assert len(await klaviyo_async_client.wait(timeout=600)) == 150
        assert klaviyo_clock.monotonic() >= 80

    @pytest.mark.MARK
    async def test_waits_again(klaviyo_clock, klaviyo_sandbox, klaviyo_async_client):
        assert klaviyo_clock.monotonic() == 0
        klaviyo_sandbox.add_jobs(SandboxJob())
        await klaviyo_async_client.wait(timeout=600)
        await asyncio.sleep(3600)
        assert klaviyo_clock.monotonic() >= 3680
"""


@pytest.fixture
def suite(pytester: pytest.Pytester) -> pytest.Pytester:
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    pytester.makeconftest(ENABLED)
    return pytester


@pytest.mark.parametrize("mark", ["asyncio", "anyio"])
def test_async_tests_run_in_virtual_time_by_one_line(suite: pytest.Pytester, mark: str) -> None:
    suite.makeconftest(f"{ENABLED}{LOOPS_IN_TESTS}\n")
    suite.makepyfile(ASYNC_TESTS.replace("MARK", mark))
    suite.runpytest("-W", "error").assert_outcomes(passed=2)


@pytest.mark.parametrize("mark", ["asyncio", "anyio"])
def test_without_the_line_they_fail_at_once_and_name_it(suite: pytest.Pytester, mark: str) -> None:
    suite.makepyfile(ASYNC_TESTS.replace("MARK", mark))
    result = suite.runpytest()
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines([f"*{LOOPS_IN_TESTS}*"])


def test_tests_without_a_virtual_clock_keep_the_machines_time(suite: pytest.Pytester) -> None:
    suite.makeconftest(f"{ENABLED}{LOOPS_IN_TESTS}\n")
    suite.makepyfile(
        """
        import asyncio
        import pytest
        from klaviyo_variant_jobs.sandbox.virtual_time import VirtualLoop

        @pytest.mark.asyncio
        async def test_real():
            assert not isinstance(asyncio.get_running_loop(), VirtualLoop)
        """
    )
    suite.runpytest().assert_outcomes(passed=1)


def test_each_test_has_a_clock_a_sandbox_and_a_quota_of_its_own(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        import pytest
        from klaviyo_variant_jobs.sandbox import SandboxJob

        @pytest.mark.parametrize("time", range(3))
        def test_it(time, klaviyo_client, klaviyo_sandbox, klaviyo_clock):
            assert klaviyo_sandbox.jobs == []
            klaviyo_sandbox.add_jobs(SandboxJob())
            for _ in range(75):
                klaviyo_client.get_page()
            assert klaviyo_clock.monotonic() == 0
            assert klaviyo_sandbox.count(status=429) == 0
        """
    )
    suite.runpytest().assert_outcomes(passed=3)


def test_a_test_that_leaves_a_fault_unmet_fails(suite: pytest.Pytester) -> None:
    suite.makepyfile(
        """
        def test_it(klaviyo_client, klaviyo_sandbox):
            klaviyo_sandbox.fail_next(429, 503)
            klaviyo_sandbox.fail_next(500)
            klaviyo_client.get_page()
            klaviyo_sandbox.fail_next(504)
        """
    )
    result = suite.runpytest()
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(["1 of the faults given to fail_next were not used: *504*"])
