"""The command scripts/bump: moves the project to another revision of the API."""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from attrs import evolve, frozen
from openapi_spec_validator import validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from tooling import changes, codegen, fragment, upstream
from tooling.carry import carry
from tooling.compare import Row, compare, differences
from tooling.decisions import to_decide
from tooling.deviations import agreement, upstream_side
from tooling.examples import EXAMPLES, pin
from tooling.schema import Document, DocumentError
from tooling.terminal import one_line, say
from tooling.tree import WRITTEN, TreeError, all_or_nothing
from tooling.users import users_of
from tooling.wire import Wire, read_wire

EXIT_DECIDE = 3
_RECORD_SECONDS = 120
_TITLE = "# Changes"
_DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)


class BumpError(Exception):
    """A bump failed; the tree is unchanged."""


FAILURES = (
    BumpError,
    DocumentError,
    TreeError,
    codegen.GenerationError,
    fragment.FragmentError,
    OSError,
)


@frozen
class Bump:
    """The result of a bump.

    Attributes:
        rows: the rows of the report.
        questions: what a person must decide, by place.
        default_moves: a note for importers if the default revision changes, else empty.
        wrote: whether any file changed.
    """

    rows: tuple[Row, ...]
    questions: dict[str, str]
    default_moves: str = ""
    wrote: bool = False

    def text(self, *, docs: bool) -> str:
        """The report as text, with or without the rows of level `docs`."""
        told = changes.as_text([row for row in self.rows if docs or row.level != "docs"])
        return f"{told}\n\n{self.default_moves}".rstrip()


def bump(
    root: Path,
    new: str,
    old: str,
    *,
    upstream_old: str | None,
    upstream_new: str | None,
    report: Path | None = None,
) -> Bump:
    """Add revision `new`, made from the fragment of `old`, to the project at `root`.

    Args:
        upstream_old: file or URL of Klaviyo's document of `old`; by default it is rebuilt from the
            fragment of `old` without its deviations.
        upstream_new: the same for `new`; by default the published document.
        report: file for the rows as JSON.
    Raises:
        one of FAILURES: nothing was changed.
    """
    if report:
        _check_report(report)
    former_newest = _check_kept(root / "spec", new, old)
    given = upstream_new or upstream.published(new)
    document = upstream.load(given)
    theirs = read_wire(document)
    _warn_of_another_revision(given, theirs, new)
    before = None
    if upstream_old:
        before = read_wire(upstream.load(upstream_old))
        _warn_of_another_revision(upstream_old, before, old)
    ours = _own_side(root / "spec" / f"{old}.yaml")
    with upstream.whatever_its_shape(given):
        found = _compared(ours, before, theirs, lambda name: users_of(root, name))
    moves = new > former_newest
    if moves:
        found = evolve(found, default_moves=changes.default_moves(former_newest, new))

    def write_report() -> None:
        if report:
            report.write_text(changes.as_json(found.rows), encoding="utf-8")

    with all_or_nothing(root, also=EXAMPLES if moves else (), last=write_report) as copy:
        with upstream.whatever_its_shape(given):
            carried = _carry_over(copy / "spec", new, old, document)
        if carried is not None:
            words = [
                *changes.to_describe(carried, theirs, new),
                *changes.to_give_reasons(
                    fragment.load(root / "spec" / f"{old}.yaml"), carried, new
                ),
            ]
            undone = _make(copy, new)
            found = evolve(
                found,
                rows=changes.in_order([*found.rows, *words, *_undone_rows(undone)]),
                questions={**found.questions, **undone},
                wrote=True,
            )
            _write_changelog(copy / "CHANGELOG.md", found, new, old)
            if moves:
                pin(copy, former_newest, new)
    return found


def _own_side(file: Path) -> Wire:
    kept = fragment.load(file)
    with upstream.whatever_its_shape(f"spec/{file.name}"):
        return upstream_side(kept)


def _compared(ours: Wire, before: Wire | None, theirs: Wire, users: Callable[[str], str]) -> Bump:
    """How Klaviyo's documents differ; without `before`, `ours` is the old side."""
    questions = {
        **to_decide(ours, theirs, users),
        **to_decide(before or ours, theirs, users),
    }
    rows = changes.report(before or ours, theirs, questions, words=before is not None)
    if before:
        rows = changes.in_order([*rows, *_behind(ours, before, theirs)])
    return Bump(rows, {one_line(where): one_line(asked) for where, asked in questions.items()})


def _carry_over(spec: Path, new: str, old: str, document: dict[str, Any]) -> Document | None:
    """Write the new fragment and return it; None if it would equal the old one."""
    was = (spec / f"{old}.yaml").read_text(encoding="utf-8")
    text = carry(was, old=old, new=new, upstream=document)
    if text == was:
        return None
    target = spec / f"{new}.yaml"
    target.write_text(text, encoding="utf-8")
    return check_fragment(target, document)


def _make(copy: Path, new: str) -> dict[str, str]:
    """Generate and record from the new fragment; returns failures as questions.

    A failure does not end the bump: the fragment and the report are useful without these files.
    """
    try:
        codegen.generate(copy / "spec", copy / "generated")
    except Exception as error:  # The generator may raise anything for documents it does not expect.
        told = one_line(str(error) or type(error).__name__)
        return {
            "generated": f"generated/ and the cassettes were not written: {told}; correct "
            f"spec/{new}.yaml, then run scripts/regenerate and scripts/record --revision {new}"
        }
    told = _record(copy, new)
    if not told:
        return {}
    return {
        "cassettes": f"tests/cassettes/{new} was not recorded: {told}; answer the other "
        f"questions in the client and the sandbox, then run scripts/record --revision {new}"
    }


def _undone_rows(undone: dict[str, str]) -> list[Row]:
    return [Row("breaking", where, f"To decide: {told}.") for where, told in undone.items()]


def _check_report(file: Path) -> None:
    """Check that the report can be written, without changing its content."""
    existed = file.exists()
    if existed and not (file.is_file() or file.is_dir()):
        return  # Opening a pipe and closing it would end the report for its reader.
    try:
        file.open("a", encoding="utf-8").close()
        if not existed:
            file.resolve().unlink()
    except OSError as error:
        raise BumpError(f"the report cannot be written to {file}: {error.strerror}") from error


def _check_kept(spec: Path, new: str, old: str) -> str:
    """Check that both revisions make sense; returns the newest revision so far."""
    kept = fragment.kept_dates(spec)
    if old not in kept:
        raise BumpError(f"there is no revision {old} to start from; kept are {', '.join(kept)}")
    if new in kept and new != old:
        raise BumpError(
            f"{new} is kept already; to take over what upstream has edited since, "
            f"run scripts/bump {new} --from {new}"
        )
    return kept[-1]


def _warn_of_another_revision(source: str, document: Wire, revision: str) -> None:
    # Only a warning: a bump can be tried out with one document for both sides.
    if document.revision not in ("", revision):
        warning = f"{source} says it is revision {document.revision}, not {revision}"
        say(f"bump: warning: {warning}", error=True)


def _behind(ours: Wire, before: Wire, theirs: Wire) -> tuple[Row, ...]:
    """Rows for what the fragment lacked of the old document and gets with the new one."""
    known = {(one.where, one.fact) for one in differences(before, theirs)}
    missed = {one.where for one in differences(ours, theirs) if (one.where, one.fact) not in known}
    return tuple(
        evolve(row, what=f"{row.what} The fragment was behind upstream here.")
        for row in compare(ours, theirs)
        if row.where in missed and row.level != "docs"
    )


def check_fragment(file: Path, document: Document) -> Document:
    """Check that a new fragment is valid and agrees with Klaviyo's document; returns it."""
    carried = fragment.load(file)
    try:
        validate(carried)
    except OpenAPIValidationError as error:
        told = one_line(f"{error.json_path}: {error.message}".partition("\n")[0])
        raise BumpError(f"the new fragment would be no valid OpenAPI: {told}") from error
    fragment.read(file)
    left = agreement(carried, read_wire(document)).lines()
    if left:
        raise BumpError(f"the new fragment would still differ from upstream: {'; '.join(left)}")
    return carried


def _write_changelog(file: Path, found: Bump, new: str, old: str) -> None:
    text = file.read_text(encoding="utf-8") if file.exists() else f"{_TITLE}\n"
    edited = f", edited in place, taken over on {datetime.now(UTC):%Y-%m-%d}"
    heading = f"## Revision {new}" + (edited if new == old else f", since {old}")
    entry = f"{heading}\n\n{found.text(docs=False)}"
    file.write_text(changes.changelog(text, entry), encoding="utf-8")


def _record(copy: Path, revision: str) -> str:
    """Record the cassettes of a revision; returns the failure in one line, or an empty string."""
    if not (copy / "scripts" / "record").exists():
        return ""
    paths = os.pathsep.join(str(copy / name) for name in ("scripts", "overlay", "generated"))
    try:
        done = subprocess.run(
            [sys.executable, "-m", "tooling", "record", "--revision", revision],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": paths, "PYTHONDONTWRITEBYTECODE": "1"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_RECORD_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"scripts/record took longer than {_RECORD_SECONDS} s"
    if not done.returncode:
        return ""
    last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
    return f"scripts/record failed: {one_line(last.removeprefix('record: '))}"


def main(root: Path, arguments: Sequence[str]) -> int:
    """0 done, 3 done and something is left to decide, 1 failed, 2 usage, 130 interrupted."""
    options = _options(arguments)
    try:
        done = bump(
            root,
            options.new,
            options.old,
            upstream_old=options.upstream_old,
            upstream_new=options.upstream_new,
            report=options.report,
        )
    except FAILURES as error:
        say(f"bump: {error}\nThe tree is as it was.", error=True)
        return 1
    except KeyboardInterrupt:
        say("bump: interrupted. The tree is as it was.", error=True)
        return 130
    say(f"{options.old} -> {options.new}\n\n{done.text(docs=True)}")
    if done.questions:
        say("\n### To decide by hand\n")
        for where, question in done.questions.items():
            say(f"- {where}: {question}")
    say(_what_next(done, options.new, options.old), error=True)
    return EXIT_DECIDE if done.questions else 0


def _what_next(done: Bump, new: str, old: str) -> str:
    if not done.wrote:
        return f"\nNothing was written: spec/{new}.yaml says all of this already."
    fragments = f"spec/{old}.yaml spec/{new}.yaml"
    folder = f"generated/{codegen.PACKAGE}/r"
    packages = " ".join(folder + one.replace("-", "_") for one in (old, new))
    command = "git diff -- spec generated"
    if new != old:
        command = f"git diff --no-index {fragments}; git diff --no-index {packages}"
    places = ", ".join([*WRITTEN, *(EXAMPLES if done.default_moves else ())])
    return (
        f"\nWritten to {places}.\nNext: read what differs, run scripts/test, commit.\n  {command}"
    )


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/bump",
        description="Move the project to another revision of the API.",
        epilog="Exit codes: 0 done; 3 done, and something is left for a person to decide; "
        "others: failed, and the tree is as it was.",
    )
    parser.add_argument("new", type=day, metavar="NEW", help="revision to add, such as 2026-10-15")
    parser.add_argument(
        "--from", dest="old", type=day, metavar="OLD", required=True, help="kept revision"
    )
    for side, default in (("old", "rebuilt from the fragment"), ("new", "the published one")):
        parser.add_argument(
            f"--upstream-{side}",
            metavar="FILE|URL",
            help=f"OpenAPI document of {side.upper()} (default: {default})",
        )
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="where to write the rows as JSON"
    )
    return parser.parse_args(arguments)


def day(text: str) -> str:
    """Parse a revision given as an argument."""
    with suppress(ValueError):
        if _DAY.fullmatch(text) and date.fromisoformat(text):
            return text
    raise argparse.ArgumentTypeError(
        f"{text!r} is not a date; revisions are dates such as 2026-07-15"
    )
