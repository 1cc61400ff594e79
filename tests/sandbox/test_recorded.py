"""The sandbox beside real answers: the same state gives the same bytes.

The recorded answers are other people's and not part of this project: where they lie beside it, they
are compared. What is asked for is what was asked for then; ids and times are set to the recorded.
"""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from klaviyo_variant_jobs.sandbox import Request, Response, Sandbox, SandboxJob, VirtualClock

RECORDED = Path(__file__).parents[2].parent / "shared" / "recorded"
PATH = "/api/catalog-variant-bulk-create-jobs"
pytestmark = pytest.mark.skipif(not RECORDED.is_dir(), reason="no recorded answers beside the tree")


def recorded(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((RECORDED / f"{name}.json").read_text())
    return document


def ask(sandbox: Sandbox, query: str = "", authorization: str = "Klaviyo-API-Key pk_a") -> Response:
    headers = {"revision": "2026-07-15", "authorization": authorization}
    return sandbox.handle(Request(path=PATH, query=query, headers=headers))


def as_recorded(answer: Response) -> dict[str, Any]:
    """The headers that the recorder kept, and the body, members in their order."""
    headers = {n: v for n, v in answer.headers if not n.startswith("x-klaviyo-")}
    body = json.loads(answer.body)
    assert json.dumps(body, separators=(",", ":")).encode() == answer.body
    return {"status": answer.status, "headers": headers, "body": body}


def same(answer: Response, response: dict[str, Any]) -> bool:
    """Compared as text, so that the order of members and headers counts."""
    return json.dumps(as_recorded(answer)) == json.dumps(response)


def with_error(response: dict[str, Any], **members: object) -> dict[str, Any]:
    """What was recorded, but for members that are of another request or endpoint."""
    (error,) = response["body"]["errors"]
    assert set(members) <= set(error)
    return {**response, "body": {"errors": [{**error, **members}]}}


def job_of(entry: dict[str, Any], clock: VirtualClock) -> SandboxJob:
    attributes = entry["attributes"]
    created = dt.datetime.fromisoformat(attributes["created_at"])
    ended = dt.datetime.fromisoformat(attributes["completed_at"])
    return SandboxJob(
        id=entry["id"],
        created_at=created,
        variants=attributes["total_count"],
        queued_seconds=0,
        processing_seconds=(ended - created).total_seconds(),
    )


def test_a_listing_is_as_recorded() -> None:
    known = recorded("list.200")
    entries = known["response"]["body"]["data"]
    clock = VirtualClock(start=dt.datetime(2026, 9, 4, 14, tzinfo=dt.UTC))
    sandbox = Sandbox(jobs=[job_of(entry, clock) for entry in entries], clock=clock)
    answer = ask(sandbox, urlencode(known["request"]["query"]))
    body = json.loads(answer.body)
    for mine, theirs in zip(body["data"], entries, strict=True):
        for variant, name in zip(
            mine["relationships"]["variants"]["data"],
            theirs["relationships"]["variants"]["data"],
            strict=True,
        ):
            variant["id"] = name["id"]
    assert json.dumps({**as_recorded(answer), "body": body}) == json.dumps(known["response"])


def test_a_429_is_as_recorded() -> None:
    sandbox = Sandbox(jobs=0, clock=VirtualClock(), burst=1)
    assert ask(sandbox).status == 200
    known = recorded("throttled.429")["response"]
    answers = [ask(sandbox) for _ in range(20)]
    # They order their members now this way, now that; one of both is the recorded.
    alike = [
        same(answer, with_error(known, id=answer.header("x-klaviyo-req-id"))) for answer in answers
    ]
    assert any(alike)
    assert not all(alike)


def test_a_401_is_as_recorded() -> None:
    known = recorded("unauthenticated.401")["response"]
    answer = ask(Sandbox(access_tokens={}), authorization="Bearer stale")
    assert same(answer, with_error(known, id=answer.header("x-klaviyo-req-id")))


def test_a_403_is_as_recorded_but_for_its_reason() -> None:
    known = recorded("forbidden.403")["response"]
    answer = ask(Sandbox(clock=VirtualClock(), without_scope=["pk_a"]))
    (mine,) = json.loads(answer.body)["errors"]
    reason = {name: mine[name] for name in ("id", "code", "title", "detail")}
    assert same(answer, with_error(known, **reason))


@pytest.mark.parametrize("path", sorted(RECORDED.glob("*.json")), ids=lambda path: path.stem)
def test_every_recorded_answer_is_compared(path: Path) -> None:
    assert f'"{path.stem}"' in Path(__file__).read_text()
