"""The names and signatures that services rely on. Adding is free; what is here stays."""

from __future__ import annotations

import inspect
import logging
import subprocess
import sys
from typing import Any, get_args

import attrs
import pytest

import klaviyo_variant_jobs as package
from klaviyo_variant_jobs import (
    NEWEST,
    REVISIONS,
    Anomaly,
    APIError,
    AsyncClient,
    Checkpoint,
    Client,
    KlaviyoError,
    Limiter,
    Page,
    Permit,
    RateLimit,
    RateLimiter,
    RetryPolicy,
    Wait,
)
from klaviyo_variant_jobs.client import AsyncClientOptions, ClientOptions

NAMES = [
    "Client",
    "AsyncClient",
    "Page",
    "Anomaly",
    "Checkpoint",
    "RetryPolicy",
    "RateLimiter",
    "RateLimit",
    "job_id",
    "NEWEST",
    "REVISIONS",
    "Revision",
    "AnyJob",
    "NewestJob",
    "Limiter",
    "Permit",
    "Wait",
    "Clock",
    "KlaviyoError",
    "APIError",
    "BadRequestError",
    "CursorError",
    "AuthenticationError",
    "PermissionDeniedError",
    "NotFoundError",
    "RevisionRetiredError",
    "RateLimitError",
    "ServerError",
    "TransportError",
    "DeadlineError",
    "QuotaDeadlineError",
    "InvalidResponseError",
    "PaginationError",
    "CheckpointError",
    "TokenError",
]
EXPORTED = {
    name: member
    for name, member in vars(package).items()
    if not name.startswith("_") and not inspect.ismodule(member)
}
both = pytest.mark.parametrize("client", [Client, AsyncClient])


def parameters(function: Any) -> dict[str, Any]:
    """Name and default of each parameter; a positional one has a `+`."""
    return {
        ("+" if p.kind is p.POSITIONAL_OR_KEYWORD else "") + name: p.default
        for name, p in inspect.signature(function).parameters.items()
        if name != "self"
    }


def keywords(function: Any) -> set[str]:
    """The keyword arguments that a function takes, by themselves and by a `TypedDict`."""
    parameters = inspect.signature(function).parameters
    (name,) = (n for n, p in parameters.items() if p.kind is p.VAR_KEYWORD)
    (options,) = get_args(eval(function.__annotations__[name], function.__globals__))
    return {n for n, p in parameters.items() if p.kind is p.KEYWORD_ONLY} | {
        *options.__annotations__
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_name_can_be_imported_from_the_top(name: str) -> None:
    exec(f"from klaviyo_variant_jobs import {name}", {})


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'Klient'"):
        _ = package.Klient


def test_what_is_exported_is_documented() -> None:
    assert len(EXPORTED) > 30
    for name, member in EXPORTED.items():
        if inspect.isclass(member) or inspect.isfunction(member):
            assert inspect.getdoc(member), name


@both
def test_a_client_takes_these_arguments(client: Any) -> None:
    taken = parameters(client)
    typed = ClientOptions if client is Client else AsyncClientOptions
    assert typed.__annotations__.keys() | {"+api_key", "revision"} == taken.keys()
    timeout = taken.pop("timeout")
    assert isinstance(timeout, float | int)
    assert 0 < timeout < 120
    taken.pop("clock")
    assert taken == {
        "+api_key": None,
        "name": None,
        "on_event": None,
        "access_token": None,
        "revision": NEWEST.date,
        "base_url": "https://a.klaviyo.com",
        "retry": RetryPolicy(),
        "rate_limiter": None,
        "http_client": None,
        "strict": False,
    }


@both
def test_what_a_client_does_not_take_is_refused(client: Any) -> None:
    with pytest.raises(TypeError):
        client("pk_test", retries=3)
    with pytest.raises(TypeError):
        client("pk_test", NEWEST)


@both
def test_iterators_and_pages_take_these_arguments(client: Any) -> None:
    for iterating in (client.iter_jobs, client.iter_pages):
        assert keywords(iterating) == {
            "status",
            "fields",
            "resume",
            "prefetch",
            "extra_query",
        }
    assert keywords(client.get_page) == {"status", "fields", "cursor", "extra_query"}


@both
def test_what_an_iterator_does_not_take_is_refused_at_once(client: Any) -> None:
    for arguments in ({"cursor": "c"}, {"states": "queued"}):
        with pytest.raises(TypeError):
            client("pk_test").iter_jobs(**arguments)
    with pytest.raises(TypeError):
        client("pk_test").iter_jobs("queued")


def test_clients_close_as_their_kind_does() -> None:
    for name in ("__enter__", "__exit__", "close"):
        assert hasattr(Client, name)
        assert not hasattr(AsyncClient, name)
    for name in ("__aenter__", "__aexit__", "aclose"):
        assert hasattr(AsyncClient, name)
        assert not hasattr(Client, name)


def test_a_page_has_these_members() -> None:
    names = {field.name for field in attrs.fields(Page)} | {"next_cursor"}
    assert {
        "jobs",
        "cursor",
        "next_cursor",
        "rate_limit",
        "request_id",
        "revision_served",
        "anomalies",
    } <= names
    assert all(hasattr(Page, name) for name in names)


def test_an_anomaly_has_these_members() -> None:
    anomaly = Anomaly("data[3].id", 7)
    assert (anomaly.path, anomaly.value, str(anomaly)) == ("data[3].id", 7, "data[3].id")


def test_a_checkpoint_has_these_members() -> None:
    names = [field.name for field in attrs.fields(Checkpoint)]
    assert {"revision", "status", "fields", "cursor", "offset", "last_job_id"} <= set(names)


def test_a_retry_policy_takes_these_arguments() -> None:
    assert parameters(RetryPolicy).keys() == {
        "max_attempts",
        "base_delay",
        "max_delay",
        "deadline",
    }


def test_a_rate_limiter_takes_these_arguments() -> None:
    assert list(inspect.signature(RateLimiter).parameters)[:2] == ["burst", "steady"]
    assert parameters(RateLimiter).popitem()[1] is None
    assert callable(RateLimiter.unlimited)


@pytest.mark.parametrize("limiter", [Limiter, RateLimiter])
def test_a_limiter_is_asked_for_a_permit_and_told_what_came_of_it(limiter: Any) -> None:
    required = inspect.Parameter.empty
    assert parameters(limiter.acquire) == {"+earlier": required, "left_s": required}
    assert parameters(Limiter.release) == {
        "+permit": required,
        "sent": True,
        "said": None,
        "pause_s": None,
    }
    assert keywords(RateLimiter.release) == {"sent", "said", "pause_s"}
    assert parameters(limiter.flush) == {}


def test_a_limiter_without_limits_always_gives_a_permit() -> None:
    limiter = RateLimiter.unlimited()
    for _ in range(1000):
        permit = limiter.acquire(None, left_s=1.0)
        assert isinstance(permit, Permit)
        limiter.release(permit, sent=True, said=None, pause_s=None)
    assert limiter.flush() is None


def test_a_wait_has_these_members() -> None:
    assert (Wait(1.5).seconds, Wait(1.5).reason) == (1.5, "")


def test_a_rate_limit_has_these_members() -> None:
    assert {"limit", "remaining", "reset_seconds", "policies"} <= {
        field.name for field in attrs.fields(RateLimit)
    }


def test_an_api_error_has_these_attributes() -> None:
    error = APIError("x", status_code=418)
    assert isinstance(error, KlaviyoError)
    for name in (
        "status_code",
        "errors",
        "request_id",
        "retry_after",
        "attempts",
        "headers",
        "body",
        "checkpoint",
    ):
        assert hasattr(error, name)
    assert type(error.status_code) is int


def test_every_error_is_of_one_family() -> None:
    errors = [
        member
        for member in EXPORTED.values()
        if inspect.isclass(member) and issubclass(member, Exception)
    ]
    assert len(errors) >= 17
    assert all(issubclass(error, KlaviyoError) for error in errors)


def test_the_default_revision_is_the_newest() -> None:
    assert REVISIONS[-1] is NEWEST
    assert [revision.date for revision in REVISIONS] == sorted(r.date for r in REVISIONS)


def test_each_kept_revision_is_exported_under_a_name_of_its_own() -> None:
    for revision in REVISIONS:
        name = f"R{revision.date.replace('-', '_')}"
        assert getattr(package, name) is revision


def test_importing_and_making_a_client_loads_only_what_it_needs_and_never_warns() -> None:
    # Whole names: `client` begins as `cli` does. What httpx imports of its own accord (click and
    # rich, where they are installed) is not ours to judge.
    code = (
        "import sys, klaviyo_variant_jobs;"
        "klaviyo_variant_jobs.Client('pk_test');"
        "unwanted = ('klaviyo_variant_jobs.sandbox', 'klaviyo_variant_jobs.cli', 'dateutil',"
        " 'asyncio', 'msgspec');"
        "print([m for m in sys.modules if m.startswith('klaviyo_variant_jobs_api.r2')"
        " or any(m == name or m.startswith(name + '.') for name in unwanted)])"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
    assert done.stderr == ""


def test_the_logger_is_the_standard_one_of_the_package() -> None:
    assert "klaviyo_variant_jobs" in logging.Logger.manager.loggerDict
    assert logging.getLogger("klaviyo_variant_jobs").level == logging.NOTSET
