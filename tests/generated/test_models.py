"""Models decode JSON as it comes, and are values."""

from __future__ import annotations

import copy
import json
import pickle
from datetime import datetime, timedelta, timezone
from importlib import import_module
from typing import TYPE_CHECKING, Any

import attrs
import msgspec
import pytest

from klaviyo_variant_jobs_api.registry import NEWEST, REVISIONS, Revision

if TYPE_CHECKING:
    from klaviyo_variant_jobs_api.registry import AnyJob

new = import_module(f"{NEWEST.package}.models")


def some_revisions(*revisions: Revision[AnyJob]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("revision", revisions, ids=lambda revision: revision.date)


all_revisions = some_revisions(*REVISIONS)

FULL: dict[str, Any] = {
    "data": [
        {
            "type": "catalog-variant-bulk-create-job",
            "id": "01M1PADXEW6S9KKAEWJYE4HS2Y",
            "attributes": {
                "status": "complete",
                "created_at": "2026-09-04T13:41:16.380858+00:00",
                "total_count": 3,
                "completed_count": 2,
                "failed_count": 1,
                "completed_at": "2026-09-04T15:42:00+02:00",
                "expires_at": "2026-09-11T13:41:16.380858Z",
                "errors": [
                    {
                        "id": "e1",
                        "code": "invalid",
                        "title": "Invalid input",
                        "detail": "no price",
                        "source": {"pointer": "/data/0"},
                        "meta": {"external_id": "M-1"},
                    }
                ],
            },
            "relationships": {
                "variants": {
                    "data": [{"type": "catalog-variant", "id": "$custom:::$default:::M-2"}],
                    "links": {"self": "https://x/self", "related": "https://x/related"},
                }
            },
            "links": {"self": "https://a.klaviyo.com/api/catalog-variant-bulk-create-jobs/01M/"},
        }
    ],
    "links": {"self": "https://x/", "prev": None, "next": "https://x/?page%5Bcursor%5D=abc"},
    "meta": {"agent_hints": {"next_steps": ["look at failed_count"]}},
}


def decoded(document: Any) -> Any:
    return msgspec.json.decode(json.dumps(document), type=new.JobPage)


def test_a_full_page_keeps_every_value() -> None:
    page = decoded(FULL)
    assert json.loads(msgspec.json.encode(page)) == {
        **FULL,
        "data": [
            {
                **FULL["data"][0],
                "attributes": {
                    **FULL["data"][0]["attributes"],
                    "created_at": "2026-09-04T13:41:16.380858Z",
                },
            }
        ],
    }


def test_a_timestamp_keeps_its_offset() -> None:
    completed_at = decoded(FULL).data[0].attributes.completed_at
    assert completed_at == datetime(2026, 9, 4, 15, 42, tzinfo=timezone(timedelta(hours=2)))
    assert completed_at is not None
    assert completed_at.utcoffset() == timedelta(hours=2)


def test_a_timestamp_without_offset_is_left_to_a_slower_path() -> None:
    with pytest.raises(msgspec.ValidationError, match=r"\$\.data\[0\]\.attributes\.created_at"):
        decoded({"data": [{"id": "01M", "attributes": {"created_at": "2022-11-08T00:00:00"}}]})


@some_revisions(*(revision for revision in REVISIONS if revision.date < "2023-12-15"))
def test_before_2023_12_15_the_id_is_an_attribute(revision: Revision[AnyJob]) -> None:
    body = b'{"data": [{"attributes": {"job_id": "01M"}}]}'
    job: Any = msgspec.json.decode(body, type=revision.load().page_model).data[0]
    assert job.attributes.job_id == "01M"
    assert not hasattr(job, "id")


@some_revisions(*(revision for revision in REVISIONS if revision.date < "2023-01-01"))
def test_included_variants_of_2022_are_decoded(revision: Revision[AnyJob]) -> None:
    variant = {"id": "V1", "type": "catalog-variant", "attributes": {"price": 9, "custom_metadata": {"a": [1]}}}
    body = json.dumps({"data": [], "included": [variant]})
    page: Any = msgspec.json.decode(body, type=revision.load().page_model)
    included = page.included
    assert included is not None
    assert included[0].attributes.price == 9
    assert included[0].attributes.custom_metadata == {"a": [1]}


def least(revision: Revision[AnyJob]) -> Any:
    """A job with nothing but what must be there."""
    return revision.load().job_model(**({} if revision.id_in_attributes else {"id": "01M"}))


@all_revisions
def test_what_may_be_missing_without_a_loss_is_empty(revision: Revision[AnyJob]) -> None:
    body = b'{"data": [{"id": "01M"}]}'
    job = msgspec.json.decode(body, type=revision.load().page_model).data[0]
    assert job == least(revision)
    assert job.attributes.status is None
    assert job.links.self == ""
    assert job.type == "catalog-variant-bulk-create-job"


@some_revisions(*(revision for revision in REVISIONS if not revision.id_in_attributes))
@pytest.mark.parametrize("job", ["{}", '{"id": null}'])
def test_a_job_without_its_id_is_left_to_a_slower_path(
    revision: Revision[AnyJob], job: str
) -> None:
    with pytest.raises(msgspec.ValidationError, match="id"):
        msgspec.json.decode(f'{{"data": [{job}]}}', type=revision.load().page_model)


@all_revisions
def test_null_is_none_where_a_member_may_be_missing(revision: Revision[AnyJob]) -> None:
    model = revision.load().job_model
    nulls = dict.fromkeys(name for name in new.JobAttributes.__struct_fields__)
    body = json.dumps({"data": [{"id": "01M", "attributes": nulls, "relationships": None}]})
    job = msgspec.json.decode(body, type=revision.load().page_model).data[0]
    assert isinstance(job, model)
    assert job == least(revision)


@all_revisions
def test_unknown_members_do_no_harm(revision: Revision[AnyJob]) -> None:
    body = b'{"data": [{"id": "01M", "x": 1, "attributes": {"y": {"z": []}}}], "w": null}'
    assert len(msgspec.json.decode(body, type=revision.load().page_model).data) == 1


@all_revisions
def test_a_page_without_data_is_no_page(revision: Revision[AnyJob]) -> None:
    with pytest.raises(msgspec.ValidationError, match="data"):
        msgspec.json.decode(b"{}", type=revision.load().page_model)


def test_models_are_frozen_and_slotted() -> None:
    job = decoded(FULL).data[0]
    with pytest.raises(AttributeError):
        job.id = "other"  # type: ignore[misc]
    assert not hasattr(job, "__dict__")


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda page: pickle.loads(pickle.dumps(page))])
def test_a_copy_equals_its_original(copied: Any) -> None:
    page = decoded(FULL)
    assert copied(page) == page
    assert repr(copied(page)) == repr(page)


def test_a_link_called_self_can_be_given_to_the_constructor() -> None:
    assert new.JobLinks(self="https://x/").self == "https://x/"


def test_a_known_status_is_its_member() -> None:
    status = decoded(FULL).data[0].attributes.status
    assert status is new.JobStatus.COMPLETE


def test_an_unknown_status_behaves_as_its_text() -> None:
    status = decoded({"data": [{"id": "01M", "attributes": {"status": "paused"}}]}).data[0].attributes.status
    assert isinstance(status, new.JobStatus)
    assert status == "paused" == str(status) == f"{status}"
    assert hash(status) == hash("paused")
    assert "paused" in repr(status)
    assert json.dumps(status) == '"paused"'
    assert status not in list(new.JobStatus)


@pytest.mark.parametrize("text", ["complete", "paused", ""])
def test_a_status_survives_pickle_and_copy(text: str) -> None:
    status = new.JobStatus(text)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(status, protocol))
        assert (type(again), again) == (new.JobStatus, status)
    assert copy.deepcopy(status) == status == copy.copy(status)


def test_a_status_is_text() -> None:
    with pytest.raises(ValueError, match="3"):
        new.JobStatus(3)  # type: ignore[arg-type]
    with pytest.raises(msgspec.ValidationError):
        decoded({"data": [{"id": "01M", "attributes": {"status": 3}}]})


def test_a_misspelt_field_is_refused() -> None:
    with pytest.raises(ValueError, match="stauts"):
        new.JobField("stauts")


def test_an_unknown_model_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Jbo"):
        getattr(new, "Jbo")  # noqa: B009


@all_revisions
@pytest.mark.parametrize("body", [b'{"data": [{"id": "01M"}]}', json.dumps(FULL).encode()])
def test_no_model_has_a_hash_whatever_it_holds(revision: Revision[AnyJob], body: bytes) -> None:
    job = msgspec.json.decode(body, type=revision.load().page_model).data[0]
    for value in (job, job.attributes):
        with pytest.raises(TypeError, match="unhashable"):
            hash(value)


def test_errors_are_left_to_those_who_read_them() -> None:
    assert not [name for name in dir(new) if name.startswith("ErrorD")]
