"""The names and signatures that services rely on. Adding is free; what is here stays."""

from __future__ import annotations

import inspect
import logging
import subprocess
import sys
from typing import Any

import attrs
import pytest

import klaviyo_variant_jobs as package
from klaviyo_variant_jobs import (
    NEWEST,
    REVISIONS,
    APIError,
    AsyncClient,
    Checkpoint,
    Client,
    KlaviyoError,
    Page,
    RateLimit,
    RateLimiter,
    RetryPolicy,
)

NAMES = [
    "Client",
    "AsyncClient",
    "Page",
    "Checkpoint",
    "RetryPolicy",
    "RateLimiter",
    "RateLimit",
    "job_id",
    "NEWEST",
    "REVISIONS",
    "Revision",
    "KlaviyoError",
    "APIError",
    "BadRequestError",
    "AuthenticationError",
    "PermissionDeniedError",
    "NotFoundError",
    "RevisionRetiredError",
    "RateLimitError",
    "ServerError",
    "TransportError",
    "DeadlineError",
    "InvalidResponseError",
    "PaginationError",
    "CheckpointError",
]
both = pytest.mark.parametrize("client", [Client, AsyncClient])


def parameters(function: Any) -> dict[str, Any]:
    """Name and default of each parameter; a positional one has a `+`."""
    return {
        ("+" if p.kind is p.POSITIONAL_OR_KEYWORD else "") + name: p.default
        for name, p in inspect.signature(function).parameters.items()
        if name != "self"
    }


@pytest.mark.parametrize("name", NAMES)
def test_the_name_is_importable_and_exported(name: str) -> None:
    assert hasattr(package, name)
    assert name in package.__all__


def test_what_is_exported_exists_and_is_documented() -> None:
    for name in package.__all__:
        member = getattr(package, name)
        if inspect.isclass(member) or inspect.isfunction(member):
            assert inspect.getdoc(member), name
    assert sorted(set(package.__all__)) == sorted(package.__all__)


@both
def test_a_client_takes_these_arguments(client: Any) -> None:
    taken = parameters(client)
    timeout = taken.pop("timeout")
    assert isinstance(timeout, float | int)
    assert 0 < timeout < 120
    taken.pop("clock")
    assert taken == {
        "+api_key": None,
        "access_token": None,
        "revision": NEWEST,
        "base_url": "https://a.klaviyo.com",
        "retry": RetryPolicy(),
        "rate_limiter": None,
        "http_client": None,
        "strict": False,
    }


@both
def test_iterators_and_pages_take_these_arguments(client: Any) -> None:
    iterating = {"status": None, "fields": None, "resume": None, "prefetch": 0}
    assert parameters(client.iter_jobs) == iterating
    assert parameters(client.iter_pages) == iterating
    assert parameters(client.get_page) == {"status": None, "fields": None, "cursor": None}


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


def test_a_rate_limit_has_these_members() -> None:
    assert {"limit", "remaining", "reset_seconds", "policies"} <= {
        field.name for field in attrs.fields(RateLimit)
    }


def test_an_api_error_has_these_attributes() -> None:
    error = APIError("x", status_code=418)
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
        for name in package.__all__
        if inspect.isclass(member := getattr(package, name)) and issubclass(member, Exception)
    ]
    assert len(errors) >= 15
    assert all(issubclass(error, KlaviyoError) for error in errors)


def test_the_default_revision_is_the_newest() -> None:
    assert REVISIONS[-1] is NEWEST
    assert [revision.date for revision in REVISIONS] == sorted(r.date for r in REVISIONS)


def test_each_kept_revision_is_exported_under_a_name_of_its_own() -> None:
    for revision in REVISIONS:
        name = f"R{revision.date.replace('-', '_')}"
        assert name in package.__all__
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
