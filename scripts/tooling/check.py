"""The command scripts/check: checks spec/, or compares a fragment with Klaviyo's document."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from attrs import evolve, frozen
from openapi_spec_validator import validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from tooling import codegen, fragment, upstream
from tooling.bump import day
from tooling.deviations import Agreement, agreement, upstream_side
from tooling.schema import DocumentError
from tooling.terminal import one_line, say
from tooling.wire import read_wire

_UNUSABLE = (DocumentError, codegen.GenerationError, fragment.FragmentError)


@frozen
class Comparison:
    """The result of comparing a document with a fragment.

    Attributes:
        revision: the revision of the fragment.
        stated: the revision that the document states, or an empty string.
        found: the differences.
    """

    revision: str
    stated: str
    found: Agreement

    @property
    def of_another_revision(self) -> bool:
        """Whether the document states another revision than the fragment's."""
        return self.stated not in ("", self.revision)

    def lines(self) -> list[str]:
        """One line per difference; empty if there is none."""
        unneeded = len(self.found.unneeded)
        if not self.of_another_revision or not unneeded:
            return self.found.lines()
        # They may be needed for the document of their own revision, so they get one line.
        told = f"{unneeded} entries of x-deviations, which were made for {self.revision}"
        return [*evolve(self.found, unneeded=()).lines(), f"{'unneeded':10}  {told}"]


def check_upstream(root: Path, source: str, revision: str | None) -> Comparison:
    """Compare Klaviyo's document with the fragment of a revision.

    Args:
        revision: by default the one that the document states, else the newest.
    Raises:
        DocumentError, FragmentError: one of the two cannot be read, or there is no such fragment.
    """
    theirs = read_wire(upstream.load(source))
    kept = fragment.kept_dates(root / "spec")
    revision = revision or theirs.revision or kept[-1]
    if revision not in kept:
        raise DocumentError(
            f"there is no fragment of {revision}; kept are {', '.join(kept)} (see --revision)"
        )
    ours = fragment.load(root / "spec" / f"{revision}.yaml")
    with upstream.whatever_its_shape(source):
        return Comparison(revision, theirs.revision, agreement(ours, theirs))


def check_spec(root: Path) -> list[str]:
    """Errors in the fragments, and what is out of date in generated/ and the lock."""
    found = []
    for one in fragment.fragments(root / "spec"):
        document = fragment.load(one.file)
        try:
            validate(document)
            upstream_side(document)
        except (OpenAPIValidationError, DocumentError) as error:
            found.append(f"spec/{one.file.name}: {one_line(str(error))}")
    return found + codegen.check(root / "spec", root / "generated")


def main(root: Path, arguments: Sequence[str]) -> int:
    """0 all well, 1 differences (listed), 2 could not be checked."""
    options = _options(arguments)
    try:
        if options.upstream:
            compared = check_upstream(root, options.upstream, options.revision)
            revision, found = compared.revision, compared.lines()
            if compared.of_another_revision:
                say(f"{options.upstream} says it is revision {compared.stated}, not {revision}")
            well = f"{revision} agrees with {options.upstream} apart from its declared deviations"
        else:
            found = check_spec(root)
            well = "the fragments are valid, and generated/ and the lock are what spec/ makes"
    except _UNUSABLE as error:
        say(f"check: {error}", error=True)
        return 2
    say("\n".join(found) if found else well)
    if found and options.upstream:
        taken = f"scripts/bump {revision} --from {revision} --upstream-new {options.upstream}"
        kept = f"what differs on purpose stands in x-deviations of spec/{revision}.yaml"
        say(f"To take it over: {taken}; {kept}, with its reason.", error=True)
    return 1 if found else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/check",
        description="Check spec/ and generated/, or whether upstream still agrees with a fragment.",
        epilog="Exit codes: 0 all well; 1 differences, which are listed; 2 could not be checked.",
    )
    parser.add_argument("--upstream", metavar="FILE|URL", help="Klaviyo's OpenAPI document")
    parser.add_argument(
        "--revision", type=day, help="fragment to compare (default: the document's own)"
    )
    options = parser.parse_args(arguments)
    if options.revision and not options.upstream:
        parser.error("--revision needs --upstream")
    return options
