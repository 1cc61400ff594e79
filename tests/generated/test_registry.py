"""The registry tells revisions apart without loading them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import pytest

from klaviyo_variant_jobs_api import registry
from klaviyo_variant_jobs_api.registry import NEWEST, REVISIONS, Revision
from tooling import fragment

if TYPE_CHECKING:
    from klaviyo_variant_jobs_api.registry import AnyJob

SPEC = Path(__file__).resolve().parents[2] / "spec"
all_revisions = pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.date)


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
    assert f"{NEWEST.package}.models" in loaded
    assert not [name for name in loaded for one in REVISIONS[:-1] if name.startswith(one.package)]


def test_revisions_stand_in_order_and_the_last_is_the_default() -> None:
    dates = [revision.date for revision in REVISIONS]
    assert dates == sorted(dates)
    assert REVISIONS[-1] is NEWEST


@all_revisions
def test_a_revision_tells_what_its_fragment_says(revision: Revision[AnyJob]) -> None:
    said = fragment.read(SPEC / f"{revision.date}.yaml")
    for name in ("path", "media_type", "burst", "steady", "fields", "statuses", "id_in_attributes"):
        assert getattr(revision, name) == getattr(said, name)


@all_revisions
def test_a_revision_has_a_name_of_its_own(revision: Revision[AnyJob]) -> None:
    assert getattr(registry, f"R{revision.date.replace('-', '_')}") is revision


@all_revisions
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


@all_revisions
def test_a_revision_names_the_query_parameters_that_it_takes(revision: Revision[AnyJob]) -> None:
    operation = fragment.load(SPEC / f"{revision.date}.yaml")["paths"][revision.path]["get"]
    said = [one["name"] for one in operation["parameters"] if one["in"] == "query"]
    assert list(revision.query) == said


def test_any_job_and_the_newest_can_be_imported_at_run_time() -> None:
    from klaviyo_variant_jobs_api.registry import AnyJob, NewestJob

    models = [revision.load().job_model for revision in REVISIONS]
    assert list(get_args(AnyJob) or [AnyJob]) == models
    assert NewestJob is models[-1]


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="AnyJbo"):
        getattr(registry, "AnyJbo")  # noqa: B009


@all_revisions
def test_a_revision_pickles_and_loads_as_before(revision: Revision[AnyJob]) -> None:
    again = pickle.loads(pickle.dumps(revision))
    assert again == revision
    assert again.load() == revision.load()


@all_revisions
def test_statuses_stand_in_the_order_of_a_job_s_life(revision: Revision[AnyJob]) -> None:
    assert revision.statuses[:4] == ("queued", "processing", "complete", "cancelled")
