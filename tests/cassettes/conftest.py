"""How pytest-recording finds and matches our cassettes, and the clients that replay them.

A test marked `vcr` that takes `revision` and `scenario` runs with the cassette
`<revision>/<scenario>.yaml`. Recording is the business of scripts/record alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from vcr import VCR

from http_library import http, is_ours
from klaviyo_variant_jobs import AsyncClient, Client, RateLimiter
from klaviyo_variant_jobs_api.registry import Revision
from tooling.record import cassette_options, same_revision
from tooling.scenarios import Scenario

FOLDER = Path(__file__).parent


def pytest_recording_configure(config: pytest.Config, vcr: VCR) -> None:
    vcr.register_matcher("revision", same_revision)


@pytest.fixture
def vcr_config() -> dict[str, Any]:
    return {**cassette_options(), "record_mode": "none"}


@pytest.fixture
def vcr_cassette_dir() -> str:
    return str(FOLDER)


@pytest.fixture
def default_cassette_name(revision: Revision[Any], scenario: Scenario) -> str:
    return f"{revision.date}/{scenario.name}"


@pytest.fixture
def replaying(wire: Any) -> Any:
    """Makes clients of the wire's kind as services have them, but for the time they live in."""

    def make(revision: Revision[Any], **options: Any) -> Any:
        kind = Client if wire.kind == "sync" else AsyncClient
        options.setdefault("rate_limiter", RateLimiter())
        if not is_ours:
            options["http_client"] = (http.Client if wire.kind == "sync" else http.AsyncClient)()
        return kind("pk_replayed", revision=revision, clock=wire.clock, **options)

    return make
