"""The change report: as rows for programs, and as text for people who import the client."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import evolve

from tooling.compare import LEVELS, Level, Row, compare
from tooling.new_schema import UNDESCRIBED
from tooling.prose import folded, in_full
from tooling.schema import Document
from tooling.terminal import one_line
from tooling.wire import FILTER, Wire, read_wire

_HEADINGS: dict[Level, str] = {
    "breaking": "What breaks",
    "service": "Terms of the service",
    "compatible": "What is new or looser",
    "docs": "Only in the documentation",
}
_UNRELEASED = re.compile(r"^## \[Unreleased\]", re.MULTILINE)
_RELEASE = re.compile(r"^## ", re.MULTILINE)
_ENTRY = re.compile(r"^###? ", re.MULTILINE)
_FIELDS = "query fields[catalog-variant-bulk-create-job]"
_SERVICE = {
    "path": "The client asks there by itself.",
    "media type": "The client reads both.",
    "scopes": "Check that your key or token has them.",
}


def changes_between(older: Document, newer: Document) -> tuple[Row, ...]:
    """How one fragment differs from another, without the rows of level `docs`."""
    rows = compare(read_wire(older), read_wire(newer))
    return tuple(row for row in rows if row.level != "docs")


def report(old: Wire, new: Wire, questions: Mapping[str, str], *, words: bool) -> tuple[Row, ...]:
    """The rows of a bump: what changed, and what to decide.

    Args:
        words: whether to compare descriptions; not if those of `old` are our own.
    """
    rows = []
    open_questions = dict(questions)
    for row in compare(old, new):
        if row.level == "docs" and not words:
            continue
        question = open_questions.pop(row.where, None) if row.level != "docs" else None
        rows.append(evolve(row, what=f"{row.what} To decide: {question}.") if question else row)
    rows += [
        Row("breaking", where, f"{where} goes with what is gone. To decide: {question}.")
        for where, question in open_questions.items()
    ]
    return in_order(rows)


def to_describe(carried: Document, owner: Wire, revision: str) -> Iterator[Row]:
    """Rows for the generated descriptions of a bump to `revision`, with Klaviyo's own words."""
    for where, place in read_wire(carried).places.items():
        if str(place.docs.get("description", "")).startswith(f"{UNDESCRIBED}{revision}"):
            theirs = owner.places[where].docs.get("description") if where in owner.places else None
            said = f" Klaviyo says: {in_full(theirs)}" if theirs else ""
            what = f"{where} has a generated description; word it in spec/{revision}.yaml.{said}"
            yield Row("docs", where, what)


def to_give_reasons(before: Document, carried: Document, revision: str) -> Iterator[Row]:
    """Rows for x-deviations whose reason was written for more places than are left."""
    told = {(one["fact"], one["reason"]): one["where"] for one in before.get("x-deviations", [])}
    for entry in carried.get("x-deviations", []):
        gone = [
            w for w in told.get((entry["fact"], entry["reason"]), []) if w not in entry["where"]
        ]
        if gone:
            reason = (
                f"{entry['fact']}, {in_full(entry['reason'])}, was given for {', '.join(gone)} too"
            )
            what = f"x-deviations: {reason}; see in spec/{revision}.yaml whether it holds without."
            yield Row("docs", "x-deviations", what)


def in_order(rows: Iterable[Row]) -> tuple[Row, ...]:
    """The rows sorted by level, and made safe to print."""
    shown = (evolve(row, where=one_line(row.where), what=one_line(row.what)) for row in rows)
    return tuple(sorted(shown, key=lambda row: LEVELS.index(row.level)))


def as_json(rows: Iterable[Row]) -> str:
    """A list of `{"level", "where", "what"}`."""
    return (
        json.dumps(
            [{"level": row.level, "where": row.where, "what": row.what} for row in rows],
            indent=2,
            ensure_ascii=False,
        )
        + "\n"
    )


def as_text(rows: Sequence[Row]) -> str:
    """The report in Markdown for the terminal and the changelog, sorted by level."""
    parts = []
    for level in LEVELS:
        lines = [f"- {in_python(row)}" for row in rows if row.level == level]
        if lines:
            parts.append(f"### {_HEADINGS[level]}\n\n" + "\n".join(lines))
    return "\n\n".join(parts) or "Nothing changes on the wire."


def default_moves(former: str, new: str) -> str:
    """The note for importers when `new` replaces `former` as the newest revision."""
    name = exported_name(former)
    return folded(f"""### The default revision

- Clients that pin no revision asked for {former} and now ask for {new}. Pin `revision="{former}"`
  to keep the former one.
- Type checkers know the exact job model only for the newest date: `Client(revision="{former}")`
  now gives the union of all job models. To keep the exact model, pin the revision itself:
  `from klaviyo_variant_jobs import {name}` and `Client(revision={name})`.""")


def exported_name(date: str) -> str:
    """The name that a revision can be imported under."""
    return f"R{date.replace('-', '_')}"


def in_python(row: Row) -> str:
    """The row with Python names; the name on the wire is added where it differs."""
    name = python_name(row.where)
    if row.where == "200.data[].attributes.job_id" and row.level == "breaking":
        return "`job.attributes.job_id` is gone; use `job_id(job)`, which reads every revision."
    if row.where == "200.data[].id" and row.level == "compatible":
        return "`job.id` is new; `job_id(job)` reads it, and `attributes.job_id` of old revisions."
    if row.where in _SERVICE and row.level == "service":
        return f"{row.what} {_SERVICE[row.where]}"
    if row.where == "rate limit" and row.what.startswith("The rate limit "):
        return f"{row.what} The limiter starts from the tightest limits of all kept revisions."
    if row.where == "rate limit":
        return f"{row.what} The limiter learns it from response headers, if they name it."
    if name is None and " is new and optional" in row.what and row.where.startswith("query "):
        return row.what if row.where.startswith(FILTER) else f"{row.what} `extra_query` sends it."
    if name is None:
        return row.what
    rest = row.what.replace(row.where, f"`{name}`", 1).replace(row.where, name)
    return rest if name == row.where else f"{rest} (`{row.where}`)"


def python_name(where: str) -> str | None:
    """The Python name of a place on the wire; None if importers never see it."""
    if where == _FIELDS:
        return "fields="
    if where in (FILTER, f"{FILTER}.status"):
        return "status="
    if where == "query page[cursor]":
        return "cursor="
    for root, name in (
        ("200.data[]", "job"),
        ("200", "JobPage"),
        ("4XX", "error"),
        ("5XX", "error"),
    ):
        rest = where.removeprefix(root)
        if where == root or (rest != where and rest[0] in ".["):
            return f"{name}{rest}"
    return None


def changelog(text: str, entry: str) -> str:
    """The changelog with `entry` under `[Unreleased]`, before what is there already.

    The entry is folded, and its headings go one level down. A changelog without a section for what
    is unreleased gets one, before those of the releases.
    """
    section = _UNRELEASED.search(text)
    if section is None:
        release = _RELEASE.search(text)
        at = release.start() if release else len(text)
        return changelog(f"{text[:at].rstrip()}\n\n## [Unreleased]\n\n{text[at:]}", entry)
    following = _ENTRY.search(text, section.end())
    at = following.start() if following else len(text)
    deeper = re.sub("^#", "##", folded(entry), flags=re.MULTILINE)
    parts = (text[:at].rstrip(), deeper, text[at:].rstrip())
    return "\n\n".join(filter(None, parts)) + "\n"
