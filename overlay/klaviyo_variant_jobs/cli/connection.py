"""Makes the client of a command from its options and the environment."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click
import httpx

from klaviyo_variant_jobs import Client
from klaviyo_variant_jobs.auth import ENVIRONMENT_VARIABLE
from klaviyo_variant_jobs_api.transport import DEFAULT_BASE_URL, checked_base_url, own_client

from .asked import Asked
from .options import Surroundings, read_api_key
from .progress import Progress, WatchedClock
from .stopped import Stopped

if TYPE_CHECKING:
    from klaviyo_variant_jobs_api.registry import AnyJob

SANDBOX_KEY = "pk_sandbox"


@contextlib.contextmanager
def connected(
    asked: Asked, surroundings: Surroundings, progress: Progress
) -> Iterator[Client[AnyJob]]:
    """A client that reports its requests and waits to `progress`.

    Raises `click.UsageError` for unusable options, `Stopped` for unusable proxies or certificates
    in the environment.
    """
    if asked.sandbox and asked.base_url != DEFAULT_BASE_URL:
        raise click.UsageError("give --sandbox or --base-url, not both")
    api_key, transport = read_api_key(asked.api_key_file), surroundings.transport
    if asked.sandbox:
        from klaviyo_variant_jobs.sandbox import Sandbox

        api_key, transport = SANDBOX_KEY, Sandbox(clock=surroundings.clock).transport()
    if api_key is None and not os.environ.get(ENVIRONMENT_VARIABLE, "").strip():
        raise click.UsageError(
            f"no API key: set {ENVIRONMENT_VARIABLE} or give --api-key-file; --sandbox needs none"
        )
    with _http_client(transport, asked.base_url) as http_client:
        with refused():
            client = Client(
                api_key,
                revision=asked.revision_pinned,
                base_url=asked.base_url,
                http_client=http_client,
                clock=WatchedClock(surroundings.clock, progress),
                on_event=progress.heard,
            )
        with client:
            yield client


@contextlib.contextmanager
def refused() -> Iterator[None]:
    """Turn a `ValueError`, which the library raises for bad arguments, into a usage error."""
    try:
        yield
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _http_client(transport: httpx.BaseTransport | None, base_url: str) -> httpx.Client:
    if transport is not None:
        return httpx.Client(transport=transport)
    with refused():
        url = checked_base_url(base_url)
    try:
        http_client: httpx.Client = own_client(httpx.Client, url)
        return http_client
    except OSError as error:  # ssl.SSLError is an OSError.
        file = f": {error.filename}" if error.filename else ""
        raise Stopped(f"error: cannot prepare TLS: {error.strerror or error}{file}") from error
    except ValueError as error:
        raise Stopped(f"error: {error}") from error
