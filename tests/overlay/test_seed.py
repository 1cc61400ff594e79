"""The documented sample response of revision 2022-10-17: objects where strings belong, nonsense
links, negative counts. Retyped here as data of our own; it has to parse all the same."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from conftest import Wire
from fake_api import FakeAPI, reply
from klaviyo_variant_jobs import (
    REVISIONS,
    InvalidResponseError,
    PaginationError,
    Revision,
    job_id,
)

pytestmark = pytest.mark.parametrize(
    "revision",
    [revision for revision in REVISIONS if revision.id_in_attributes],
    ids=lambda revision: revision.date,
)

ODD = {"value": "<Error: Too many levels of nesting to fake this schema>"}
MEMBERS = ("id", "code", "title", "detail", "source")


def sample_job(name: str, status: str, counts: list[int], times: list[str], link: str) -> Any:
    total, completed, failed = counts
    created_at, completed_at, expires_at = times
    return {
        "type": "catalog-variant-bulk-create-job",
        "attributes": {
            "job_id": name,
            "status": status,
            "created_at": created_at,
            "total_count": total,
            "completed_count": completed,
            "failed_count": failed,
            "completed_at": completed_at,
            "expires_at": expires_at,
            "errors": [dict.fromkeys(MEMBERS, ODD)] * 2,
        },
        "links": {"self": link},
        "relationships": {"variants": {"data": [{"type": ODD, "id": ODD}] * 2}},
    }


SAMPLE = json.dumps(
    {
        "data": [
            sample_job(
                "in culpa est",
                "complete",
                [-87811991, 92619199, -60188153],
                [
                    "2010-02-28T02:35:18.599Z",
                    "2013-10-08T17:24:57.042Z",
                    "2001-04-04T12:38:18.263Z",
                ],
                "http://SPzZZSKLk.ieinIdeMlCn4T.dVVqenwr2kdnCrkRgAhNDiDXXlRVN+kS5xJZ",
            ),
            sample_job(
                "minim pariatur sed do",
                "queued",
                [-37628049, -56202320, 44598020],
                [
                    "1996-03-25T07:38:32.742Z",
                    "2017-09-25T17:08:43.147Z",
                    "2006-07-25T11:07:25.090Z",
                ],
                "http://vxDnEgeqUKqjkbdAtYdNDzbSvP.pronvFpDdVq9fY9F6wwCXxMrhlvyYSsLIWYLORGLyq",
            ),
        ],
        "links": {
            "self": "http://QzaFwolnGrzXeh.hqvLnNGZCekl0yZsTVUfKKgxbWRvlNgcnBdVbqNbZXn",
            "first": "http://lbxRnLYQBrFn.vstdTqTdnCBU",
            "last": "http://SvOtoCBfubDJBi.jdgwRwGGIgKfi,V17LtrppE,kRrr",
            "prev": "http://RKckzpbvXqTUhmfYEMGXNkg.bqbPa0M11b5si4lMnXEySweZ82yiPpDVJzhQ",
            "next": "https://JvuewFVWNPhHwZEfGMBPIVoCGkzRB.ajiu",
        },
    }
).encode()


def documented(wire: Wire, revision: Revision[Any], **options: Any) -> Any:
    api = FakeAPI()
    api.script.append(reply(200, SAMPLE))
    return wire.client(api, revision=revision, **options)


async def test_the_sample_parses_with_everything_it_holds(
    wire: Wire, revision: Revision[Any]
) -> None:
    page = await wire.of(documented(wire, revision).get_page())
    first, second = page.jobs
    assert (job_id(first), job_id(second)) == ("in culpa est", "minim pariatur sed do")
    assert (first.attributes.status, second.attributes.status) == ("complete", "queued")
    assert [
        (j.attributes.total_count, j.attributes.completed_count, j.attributes.failed_count)
        for j in page.jobs
    ] == [(-87811991, 92619199, -60188153), (-37628049, -56202320, 44598020)]
    assert first.attributes.created_at == datetime(2010, 2, 28, 2, 35, 18, 599000, tzinfo=UTC)
    assert first.attributes.completed_at == datetime(2013, 10, 8, 17, 24, 57, 42000, tzinfo=UTC)
    assert second.attributes.expires_at == datetime(2006, 7, 25, 11, 7, 25, 90000, tzinfo=UTC)
    assert second.attributes.created_at.utcoffset() == timedelta(0)
    for entry in page.jobs:
        assert entry.type == "catalog-variant-bulk-create-job"
        assert len(entry.attributes.errors) == 2
        for error in entry.attributes.errors:
            assert (error.id, error.code, error.title, error.detail) == (None,) * 4
        assert [(v.type, v.id) for v in entry.relationships.variants.data] == [("", "")] * 2
        assert entry.links.self.startswith("http://")


async def test_every_odd_value_of_the_sample_is_told_and_nothing_else(
    wire: Wire, revision: Revision[Any], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "klaviyo_variant_jobs"):
        page = await wire.of(documented(wire, revision).get_page())
    paths = set()
    for entry in range(2):
        for number in range(2):
            error = f"data[{entry}].attributes.errors[{number}]"
            variant = f"data[{entry}].relationships.variants.data[{number}]"
            paths |= {f"{error}.{name}" for name in ("id", "code", "title", "detail")}
            paths |= {f"{variant}.type", f"{variant}.id"}
    # An error's source is an object with other members than we know, which do no harm.
    assert {anomaly.path for anomaly in page.anomalies} == paths
    assert len(page.anomalies) == len(paths)
    assert all(anomaly.value == ODD for anomaly in page.anomalies)
    warnings = [r for r in caplog.records if "do not fit" in r.getMessage()]
    assert len(warnings) == 1


async def test_iterating_the_sample_stops_at_its_nonsense_next_link(
    wire: Wire, revision: Revision[Any]
) -> None:
    iteration = documented(wire, revision).iter_jobs()
    given = await wire.take(iteration, 2)
    assert [job_id(entry) for entry in given] == ["in culpa est", "minim pariatur sed do"]
    error = await wire.error(PaginationError, iteration)
    assert "the next link has no cursor" in str(error)
    assert error.checkpoint is not None
    assert error.checkpoint.last_job_id == "minim pariatur sed do"


async def test_strictly_the_sample_is_refused(wire: Wire, revision: Revision[Any]) -> None:
    client = documented(wire, revision, strict=True)
    error = await wire.error(InvalidResponseError, client.get_page)
    assert "data[0].attributes.errors[0].id" in str(error)
