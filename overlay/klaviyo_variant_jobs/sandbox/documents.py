"""A page of jobs as JSON, in the shape of one revision."""

from __future__ import annotations

import datetime as dt
import enum
import typing
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import attrs
import msgspec

from klaviyo_variant_jobs.sandbox.jobs import KEPT_FOR, JobState
from klaviyo_variant_jobs_api.registry import Revision

RESOURCE_TYPE = "catalog-variant-bulk-create-job"

# In Klaviyo's OpenAPI documents timestamps have an offset since this revision.
_OFFSETS_SINCE = "2024-05-15"


@attrs.frozen(kw_only=True)
class Shape:
    """The members of a page in one revision, read from the generated models."""

    revision: Revision[Any]
    attributes: Mapping[str, Any]
    page_links: Collection[str]
    has_agent_hints: bool
    has_relationship_links: bool

    @property
    def timestamps_have_offsets(self) -> bool:
        """Whether times end in `+00:00`; without an offset they are UTC."""
        return self.revision.date >= _OFFSETS_SINCE


@cache
def shape_of(revision: Revision[Any]) -> Shape:
    """The shape of `revision`; imports its models."""
    page = revision.load().page_model
    return Shape(
        revision=revision,
        attributes=_members(page, "data", "attributes"),
        page_links=frozenset(_members(page, "links")),
        has_agent_hints="next_steps" in _members(page, "meta", "agent_hints"),
        has_relationship_links=bool(_members(page, "data", "relationships", "variants", "links")),
    )


def page(
    shape: Shape,
    jobs: Iterable[JobState],
    *,
    fields: Collection[str] | None,
    links: Mapping[str, str | None],
    collection_url: str,
) -> bytes:
    """The body of a 200.

    Args:
        shape: of the revision that is served.
        jobs: in their order on the page.
        fields: the attributes to include; None for all.
        links: by name; links that the revision lacks are left out.
        collection_url: absolute, without a trailing slash; start of the links of jobs.
    """
    document: dict[str, Any] = {
        "data": [_job(shape, state, fields, collection_url) for state in jobs],
        "links": {name: url for name, url in links.items() if name in shape.page_links},
    }
    if shape.has_agent_hints and links.get("next"):
        document["meta"] = {
            "agent_hints": {"next_steps": ["Ask for links.next to list the jobs before these."]}
        }
    return msgspec.json.encode(document)


def _job(
    shape: Shape, state: JobState, fields: Collection[str] | None, collection_url: str
) -> dict[str, Any]:
    job: dict[str, Any] = {"type": RESOURCE_TYPE}
    if not shape.revision.id_in_attributes:
        job["id"] = state.job.id
    url = f"{collection_url}/{state.job.id}/"
    job["attributes"] = _attributes(shape, state, fields)
    variants: dict[str, Any] = {
        "data": [{"type": "catalog-variant", "id": name} for name in state.variant_ids]
    }
    # Recorded: with a sparse fieldset there are no such links.
    if shape.has_relationship_links and fields is None:
        variants["links"] = {"self": f"{url}relationships/variants/", "related": f"{url}variants/"}
    job["relationships"] = {"variants": variants}
    job["links"] = {"self": url}
    return job


def _attributes(shape: Shape, state: JobState, fields: Collection[str] | None) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    for name, annotation in shape.attributes.items():
        if fields is not None and name not in fields:
            continue
        known = _ATTRIBUTES.get(name)
        value = known(shape, state) if known else _invented(annotation)
        if value is not msgspec.UNSET:
            attributes[name] = value
    replaced = state.job.attributes
    attributes |= {name: replaced[name] for name in replaced if fields is None or name in fields}
    # Recorded: with a sparse fieldset the attributes are in alphabetical order.
    return attributes if fields is None else dict(sorted(attributes.items()))


def _timestamp(shape: Shape, moment: dt.datetime | None) -> str | None:
    if moment is None:
        return None
    utc = moment.astimezone(dt.UTC)
    if not shape.timestamps_have_offsets:
        utc = utc.replace(tzinfo=None)
    return utc.isoformat(timespec="microseconds")


_ATTRIBUTES: Mapping[str, Callable[[Shape, JobState], Any]] = {
    "job_id": lambda _, state: state.job.id,
    "status": lambda _, state: state.status,
    "created_at": lambda shape, state: _timestamp(shape, state.created_at),
    "total_count": lambda _, state: state.job.variants,
    "completed_count": lambda _, state: state.completed,
    "failed_count": lambda _, state: state.failed,
    "completed_at": lambda shape, state: _timestamp(shape, state.completed_at),
    "expires_at": lambda shape, state: _timestamp(shape, state.created_at + KEPT_FOR),
    "errors": lambda _, state: state.errors,
}

_INVENTED: Mapping[object, Any] = {
    str: "from the sandbox",
    int: 1,
    float: 1.0,
    bool: True,
    dt.datetime: "2026-11-02T09:00:00.000000+00:00",
}


def _invented(annotation: Any) -> Any:
    """A value for an attribute that this module does not know; UNSET if none can be made up."""
    for kind in _parts(annotation):
        if kind in _INVENTED:
            return _INVENTED[kind]
        if isinstance(kind, type) and issubclass(kind, enum.Enum):
            return next(iter(kind)).value
    return msgspec.UNSET


def _members(annotation: Any, *path: str) -> Mapping[str, Any]:
    """Names and annotations of a model's members, after following `path`; empty if it ends."""
    members = {
        field.name: field.type
        for model in _parts(annotation)
        if isinstance(model, type) and issubclass(model, msgspec.Struct)
        for field in msgspec.structs.fields(model)
    }
    return _members(members.get(path[0]), *path[1:]) if path else members


def _parts(annotation: Any) -> Sequence[Any]:
    inner = typing.get_args(annotation)
    return [part for each in inner for part in _parts(each)] if inner else [annotation]
