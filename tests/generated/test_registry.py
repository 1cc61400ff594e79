"""The registry tells revisions apart without loading them."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from klaviyo_variant_jobs_api.registry import NEWEST, R2022_10_17, R2026_07_15, REVISIONS, Revision

if TYPE_CHECKING:
    from klaviyo_variant_jobs_api.registry import AnyJob


def modules_after(statements: str) -> set[str]:
    code = f"{statements}\nimport sys\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_registry_loads_no_revision_and_no_httpx() -> None:
    loaded = modules_after("import klaviyo_variant_jobs_api.registry")
    ours = {name for name in loaded if name.startswith("klaviyo_variant_jobs_api")}
    assert ours == {"klaviyo_variant_jobs_api", "klaviyo_variant_jobs_api.registry"}
    assert not {"httpx", "msgspec"} & loaded


def test_loading_a_revision_loads_only_its_own_code() -> None:
    loaded = modules_after("from klaviyo_variant_jobs_api.registry import NEWEST\nNEWEST.load()")
    assert "httpx" not in loaded
    assert f"{NEWEST.package}.models.job" in loaded
    assert f"{NEWEST.package}.models.error_document" not in loaded
    assert R2022_10_17.package not in loaded


def test_revisions_stand_in_order_and_the_last_is_the_default() -> None:
    dates = [revision.date for revision in REVISIONS]
    assert dates == sorted(dates)
    assert REVISIONS[-1] is NEWEST


def test_a_revision_tells_what_it_is() -> None:
    assert R2022_10_17.path == "/api/catalog-variant-bulk-create-jobs/"
    assert R2022_10_17.media_type == "application/json"
    assert (R2022_10_17.burst, R2022_10_17.steady) == (350, 3500)
    assert R2022_10_17.id_in_attributes
    assert R2026_07_15.path == "/api/catalog-variant-bulk-create-jobs"
    assert R2026_07_15.media_type == "application/vnd.api+json"
    assert (R2026_07_15.burst, R2026_07_15.steady) == (75, 750)
    assert not R2026_07_15.id_in_attributes


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.date)
def test_a_request_pins_its_revision_and_joins_fields_with_commas(
    revision: Revision[AnyJob],
) -> None:
    kwargs = revision.load().get_kwargs(
        fields=("status", "created_at"), filter_='equals(status,"queued")', page_cursor="abc"
    )
    assert kwargs == {
        "method": "get",
        "url": revision.path,
        "params": {
            "fields[catalog-variant-bulk-create-job]": "status,created_at",
            "filter": 'equals(status,"queued")',
            "page[cursor]": "abc",
        },
        "headers": {"revision": revision.date},
    }


def test_what_is_not_asked_for_is_not_sent() -> None:
    assert NEWEST.load().get_kwargs()["params"] == {}


def test_statuses_stand_in_the_order_of_a_job_s_life() -> None:
    for revision in REVISIONS:
        assert revision.statuses == ("queued", "processing", "complete", "cancelled")
