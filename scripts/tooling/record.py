"""The command scripts/record: makes tests/cassettes/ from the real API or from the sandbox.

The client reaches the sandbox over HTTP on the loopback interface, so that httpx's own transport
frames and parses the recorded bytes, as it does when they are replayed. Both use virtual time, so
waits are instant and recording again gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import attrs
import httpx
import msgspec
import vcr  # type: ignore[import-untyped]
import yaml  # type: ignore[import-untyped]
from vcr.persisters.filesystem import CassetteNotFoundError  # type: ignore[import-untyped]
from vcr.serialize import serialize  # type: ignore[import-untyped]

from klaviyo_variant_jobs import (
    APIError,
    Client,
    Clock,
    KlaviyoError,
    RateLimiter,
    RetryPolicy,
)
from klaviyo_variant_jobs.clock import SYSTEM_CLOCK
from klaviyo_variant_jobs.sandbox import Request, Response, Sandbox, Server, VirtualClock
from klaviyo_variant_jobs_api.registry import REVISIONS
from tooling.scenarios import MOST_PAGES, Answer, AnyRevision, Scenario, scenarios_of

API = "https://a.klaviyo.com"
SANDBOX = "sandbox"
SANDBOX_KEY = "pk_sandbox"

# Only these headers are recorded: no key, no cookie, and none that depends on the machine or on the
# version of httpx.
REQUEST_HEADERS = ("accept", "revision", "x-klaviyo-revision-fall-forward-opt-out")
RESPONSE_HEADERS = (
    "allow",
    "cf-mitigated",
    "content-type",
    "ratelimit-limit",
    "ratelimit-remaining",
    "ratelimit-reset",
    "retry-after",
    "x-klaviyo-api-retirement-date",
    "x-klaviyo-api-revision",
    "x-klaviyo-req-id",
)
MATCH_ON = ("method", "scheme", "host", "path", "query", "revision")

# Short, because a bump also records, and the API may be unreachable.
_LIVE_RETRY = RetryPolicy(max_attempts=3, deadline=60.0)
_FOLDER_NAME = re.compile(r"\d{4}-\d\d-\d\d")


class RecordError(Exception):
    """A scenario could not be recorded; nothing was written."""


@attrs.frozen(kw_only=True)
class Source:
    """An API to record from; `name` is its name in cassettes."""

    name: str
    base_url: str
    api_key: str = attrs.field(repr=False)
    clock: Clock
    http_client: httpx.Client | None = None


@attrs.frozen(kw_only=True)
class Recording:
    """A cassette's text, its responses, and the name of their source."""

    text: str
    answers: Sequence[Answer]
    source: str


def same_revision(ours: Any, recorded: Any) -> bool:
    """Whether two requests pin the same revision; vcrpy has no matcher for one header."""
    return bool(ours.headers.get("revision") == recorded.headers.get("revision"))


def cassette_options(base_url: str = API) -> dict[str, Any]:
    """Options of vcrpy for recording and replaying.

    In cassettes `base_url` is replaced by the URL of the real API. Callers must also register
    `same_revision` as the matcher `revision`.
    """

    def request_kept(request: Any) -> Any:
        request.uri = request.uri.replace(base_url, API, 1)
        headers = request.headers
        request.headers = {name: headers[name] for name in REQUEST_HEADERS if name in headers}
        return request

    def response_kept(response: Any) -> Any:
        body = response["body"]["string"].replace(base_url.encode(), API.encode())
        headers = {name.lower(): values for name, values in response["headers"].items()}
        kept = {name: headers[name] for name in RESPONSE_HEADERS if name in headers}
        kept["content-length"] = [str(len(body))]
        return {**response, "headers": kept, "body": {"string": body}}

    return {
        "match_on": MATCH_ON,
        "decode_compressed_response": True,
        "before_record_request": request_kept,
        "before_record_response": response_kept,
    }


def record(scenario: Scenario, revision: AnyRevision, source: Source) -> Recording:
    """Record one scenario from `source`, without checking that it shows what it should.

    Raises:
        RecordError: there was no response, or one that is not from this API.
    """
    recorder = vcr.VCR(record_mode="all", **cassette_options(source.base_url))
    recorder.register_matcher("revision", same_revision)
    recorder.register_persister(_Unsaved)
    # Make the client inside the cassette, so that it gets the transport patched by vcrpy.
    with recorder.use_cassette(scenario.name) as cassette, _client(scenario, revision, source) as c:
        try:
            _ask(c, scenario, revision)
        except KlaviyoError as error:
            raise RecordError(f"{revision.date}/{scenario.name} from {source.name}: {error}") from (
                error
            )
    answers = [answer_of(response) for response in cassette.responses]
    text = _text(scenario, source, cassette)
    if source.api_key in text:
        raise RecordError(f"{revision.date}/{scenario.name}: an answer quotes the API key")
    return Recording(text=text, answers=answers, source=source.name)


def _client(scenario: Scenario, revision: AnyRevision, source: Source) -> Client[Any]:
    return Client(
        scenario.api_key or source.api_key,
        revision=scenario.pinned(revision),
        base_url=source.base_url,
        clock=source.clock,
        rate_limiter=RateLimiter(),  # Not the shared one, which has counted other recordings.
        retry=_LIVE_RETRY,
        http_client=source.http_client,
    )


def _ask(client: Client[Any], scenario: Scenario, revision: AnyRevision) -> None:
    query = dict(scenario.query(revision))
    with suppress(APIError):  # It is recorded; `Scenario.shows` decides later.
        for _ in range(MOST_PAGES):
            query["cursor"] = client.get_page(**query).next_cursor
            if query["cursor"] is None:
                return


class _Unsaved:
    """Keeps vcrpy from writing: `write` does that once all scenarios are recorded."""

    @staticmethod
    def load_cassette(path: str, serializer: Any) -> Any:
        raise CassetteNotFoundError

    @staticmethod
    def save_cassette(path: str, cassette: Any, serializer: Any) -> None: ...


def answer_of(response: Any) -> Answer:
    """The `Answer` of a response in the form of vcrpy."""
    document = None
    with suppress(ValueError):
        document = json.loads(response["body"]["string"])
    return Answer(status=response["status"]["code"], document=document)


# Text


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Writes text of several lines as a block, and no anchors."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text_node(dumper: Any, text: str) -> Any:
    return dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    )


_Dumper.add_representer(str, _text_node)


@attrs.frozen
class _Serializer:
    """A serializer of vcrpy that adds the source of the cassette, which vcrpy ignores."""

    source: str

    def serialize(self, cassette: dict[str, Any]) -> str:
        told = {"recorded_from": self.source, **cassette}
        text: str = yaml.dump(told, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)
        return text


def _text(scenario: Scenario, source: Source, cassette: Any) -> str:
    interactions = {"requests": cassette.requests, "responses": cassette.responses}
    body: str = serialize(interactions, _Serializer(source.name))
    return f"# {scenario.about}\n# Recorded by scripts/record. Do not edit.\n{body}"


# Sources


@contextmanager
def _sandbox(scenario: Scenario, revision: AnyRevision) -> Iterator[Source]:
    clock = VirtualClock()
    handle = _indented(scenario.sandbox(revision, clock))
    # trust_env=False: no proxy for the loopback interface.
    with Server(handle, clock) as server, httpx.Client(trust_env=False) as http_client:
        yield Source(
            name=SANDBOX,
            base_url=server.base_url,
            api_key=SANDBOX_KEY,
            clock=clock,
            http_client=http_client,
        )


def _indented(sandbox: Sandbox) -> Callable[[Request], Response]:
    """The sandbox with its JSON indented, so that people can read the cassettes."""

    def handle(request: Request) -> Response:
        response = sandbox.handle(request)
        try:
            return attrs.evolve(response, body=msgspec.json.format(response.body, indent=2))
        except msgspec.DecodeError:
            return response

    return handle


def real_api(api_key: str) -> Source:
    """The API itself."""
    return Source(name=API, base_url=API, api_key=api_key, clock=SYSTEM_CLOCK)


def record_best(scenario: Scenario, revision: AnyRevision, live: Source | None) -> Recording:
    """Record a scenario from `live` if possible, else from the sandbox.

    Raises:
        RecordError: `live` does not answer or refuses the key, or the recording from the sandbox
            does not show what the scenario is about.
    """
    if live is not None and scenario.live:
        recording = record(scenario, revision, live)
        if scenario.shows(revision, recording.answers):
            return recording
        if scenario.api_key is None and recording.answers[0].status in (401, 403):
            raise RecordError(f"{live.name} refuses the key; check KLAVIYO_API_KEY")
    with _sandbox(scenario, revision) as source:
        recording = record(scenario, revision, source)
    if not scenario.shows(revision, recording.answers):
        statuses = ", ".join(str(answer.status) for answer in recording.answers)
        raise RecordError(
            f"{revision.date}/{scenario.name}: the sandbox answered {statuses}, which does not show"
            f" what the scenario is about; see {scenario.name!r} in scripts/tooling/scenarios.py"
        )
    return recording


# Files


def write(folder: Path, revisions: Sequence[AnyRevision], live: Source | None) -> dict[Path, str]:
    """Record `revisions` into `folder` and remove stale cassettes.

    Returns:
        The cassettes that changed, with the source of each, or `removed`.
    Raises:
        RecordError: nothing was written.
    """
    recordings = {
        folder / revision.date / f"{scenario.name}.yaml": record_best(scenario, revision, live)
        for revision in revisions
        for scenario in scenarios_of(revision)
    }
    changed = dict.fromkeys(stale(folder), "removed")
    for file in changed:
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    for file, recording in recordings.items():
        if file.exists() and file.read_text(encoding="utf-8") == recording.text:
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(recording.text, encoding="utf-8")
        changed[file] = recording.source
    return changed


def stale(folder: Path) -> list[Path]:
    """Folders of revisions that are no longer kept, and cassettes without a scenario."""
    kept = {revision.date: revision for revision in REVISIONS}
    found = []
    for one in sorted(folder.iterdir()) if folder.exists() else ():
        if one.name in kept:
            names = {f"{scenario.name}.yaml" for scenario in scenarios_of(kept[one.name])}
            found += [file for file in sorted(one.glob("*.yaml")) if file.name not in names]
        elif one.is_dir() and _FOLDER_NAME.fullmatch(one.name):
            found.append(one)
    return found


def main(root: Path, arguments: Sequence[str]) -> int:
    """0 done, 1 failed and nothing was written, 2 usage."""
    parser = argparse.ArgumentParser(
        prog="record",
        description="Record tests/cassettes/ again. With KLAVIYO_API_KEY in the environment, some "
        "scenarios are recorded from the real API, and their cassettes hold data of the account: "
        "use a test account. The others are recorded from the sandbox.",
    )
    parser.add_argument(
        "--revision", choices=[revision.date for revision in REVISIONS], help="record only this one"
    )
    only = parser.parse_args(arguments).revision
    revisions = [revision for revision in REVISIONS if only in (None, revision.date)]
    api_key = os.environ.get("KLAVIYO_API_KEY", "").strip()
    # Hide the warnings that a revision is deprecated.
    logging.getLogger("klaviyo_variant_jobs").addHandler(logging.NullHandler())
    try:
        live = real_api(api_key) if api_key else None
        changed = write(root / "tests" / "cassettes", revisions, live)
    except RecordError as error:
        advice = " Without KLAVIYO_API_KEY the sandbox is recorded instead." if api_key else ""
        print(f"record: nothing was written: {error}.{advice}", file=sys.stderr)
        return 1
    for file, source in changed.items():
        print(f"{file.relative_to(root)}: {source}")
    print(f"The cassettes of {', '.join(r.date for r in revisions)} ({len(changed)} changed)")
    return 0
