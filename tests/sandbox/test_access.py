from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from klaviyo_variant_jobs.sandbox import Response, Sandbox, SandboxJob, VirtualClock, identity_of
from klaviyo_variant_jobs_api import registry

Ask = Callable[..., Response]
Error = Callable[[Response], Any]


@pytest.mark.parametrize(
    "authorization",
    [None, "", "pk_test", "Klaviyo-API-Key", "Klaviyo-API-Key sk_test", "Basic cGs6"],
)
def test_a_request_without_a_private_key_is_not_authenticated(
    authorization: str | None,
    revision: registry.Revision[Any],
    clock: VirtualClock,
    ask: Ask,
    error: Error,
) -> None:
    response = ask(Sandbox(jobs=1, clock=clock), revision=revision, authorization=authorization)
    assert response.status == 401
    assert error(response)["code"] == "not_authenticated"
    assert error(response)["detail"] == "Missing or invalid private key."
    assert response.header("ratelimit-limit") is None


def test_a_token_that_is_not_known_fails_in_its_own_way(
    clock: VirtualClock, ask: Ask, error: Error
) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, access_tokens={"good": "shop"})
    assert ask(sandbox, authorization="Bearer good").status == 200
    response = ask(sandbox, authorization="Bearer stale")
    assert response.status == 401
    assert error(response)["code"] == "authentication_failed"


def test_only_the_keys_that_were_named_are_let_in(clock: VirtualClock, ask: Ask) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, api_keys={"pk_a": "shop"})
    assert ask(sandbox, authorization="Klaviyo-API-Key pk_a").status == 200
    assert ask(sandbox, authorization="Klaviyo-API-Key pk_b").status == 401


def test_a_key_without_the_scope_is_denied(clock: VirtualClock, ask: Ask, error: Error) -> None:
    sandbox = Sandbox(jobs=1, clock=clock, without_scope=["pk_test"])
    response = ask(sandbox)
    assert response.status == 403
    assert error(response)["code"] == "permission_denied"


def test_the_log_tells_credentials_apart_and_does_not_hold_them(
    clock: VirtualClock, ask: Ask
) -> None:
    sandbox = Sandbox(jobs=1, clock=clock)
    clock.sleep(3)
    ask(sandbox, "filter=x", authorization="Klaviyo-API-Key pk_first")
    ask(sandbox, authorization="Klaviyo-API-Key pk_second")
    ask(sandbox, authorization="Klaviyo-API-Key pk_second")
    ask(sandbox, authorization=None)
    assert [record.identity for record in sandbox.requests] == [
        identity_of("pk_first"),
        identity_of("pk_second"),
        identity_of("pk_second"),
        None,
    ]
    assert sandbox.requests[0].time == clock.time()
    assert sandbox.requests[0].query == "filter=x"
    assert sandbox.requests[0].status == 400
    assert sandbox.requests[0].revision == registry.NEWEST.date
    assert "pk_" not in repr(sandbox.requests)
    assert sandbox.count() == 4
    assert sandbox.count(credential="pk_second") == 2
    assert sandbox.count(status=401) == 1
    assert sandbox.count(credential="pk_first", status=200) == 0


def test_request_ids_differ_and_repeat_with_the_seed(clock: VirtualClock, ask: Ask) -> None:
    def ids(seed: int) -> list[str | None]:
        sandbox = Sandbox(jobs=1, clock=clock, seed=seed)
        return [ask(sandbox).header("x-klaviyo-req-id") for _ in range(3)]

    assert ids(1) == ids(1) != ids(2)
    assert len(set(ids(1))) == 3


def test_an_account_sees_its_own_jobs_and_those_of_all(
    clock: VirtualClock, ask: Ask, data: Callable[[Response], Any]
) -> None:
    sandbox = Sandbox(jobs=1, clock=clock)
    sandbox.add_jobs(SandboxJob(id="FIRST"), credential="pk_first")
    sandbox.add_jobs(SandboxJob(id="SECOND"), credential="pk_second")
    sandbox.add_jobs(SandboxJob(id="ALL"))

    def seen(key: str) -> list[str]:
        answer = ask(sandbox, authorization=f"Klaviyo-API-Key {key}")
        return [job["id"] for job in data(answer)["data"]][:-1]

    assert seen("pk_first") == ["ALL", "FIRST"]
    assert seen("pk_second") == ["ALL", "SECOND"]
    assert seen("pk_third") == ["ALL"]
    clock.sleep(3600)
    sandbox.change_job("SECOND", failed=1)
    assert seen("pk_first") == ["ALL", "FIRST"], "still so after the jobs have aged"
    assert seen("pk_second") == ["ALL", "SECOND"]
    assert len(sandbox.jobs) == 4


def test_keys_and_tokens_of_one_account_see_the_same_jobs(
    clock: VirtualClock, ask: Ask, data: Callable[[Response], Any]
) -> None:
    sandbox = Sandbox(
        jobs=0, clock=clock, api_keys={"pk_a": "shop", "pk_b": "shop"}, access_tokens={"t": "shop"}
    )
    sandbox.add_jobs(SandboxJob(id="ONE"), credential="pk_a")
    sandbox.add_jobs(SandboxJob(id="TWO"), credential="t")
    for authorization in ("Klaviyo-API-Key pk_a", "Klaviyo-API-Key pk_b", "Bearer t"):
        answer = ask(sandbox, authorization=authorization)
        assert [job["id"] for job in data(answer)["data"]] == ["TWO", "ONE"]


@pytest.mark.parametrize("credential", ["pk_other", "secret-token"])
def test_jobs_for_nobody_are_refused_without_a_word_of_the_credential(credential: str) -> None:
    sandbox = Sandbox(jobs=0, api_keys={"pk_a": "shop"}, access_tokens={})
    with pytest.raises(ValueError, match="does not accept this credential") as caught:
        sandbox.add_jobs(SandboxJob(), credential=credential)
    assert credential not in str(caught.value)
