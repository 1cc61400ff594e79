"""The command scripts/check: whether spec/ is sound, and whether upstream still agrees with it."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from openapi_spec_validator import validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError

from tooling import codegen, fragment, upstream
from tooling.bump import kept_revisions
from tooling.deviations import agreement, upstream_side
from tooling.schema import DocumentError
from tooling.wire import read_wire

_UNUSABLE = (DocumentError, codegen.GenerationError, fragment.FragmentError)


def check_upstream(root: Path, source: str, revision: str | None) -> tuple[str, list[str]]:
    """The revision that was looked at, and how its fragment and the document do not agree.

    Args:
        revision: by default the one that the document is of.
    Raises:
        DocumentError, FragmentError: one of the two cannot be read, or there is no such fragment.
    """
    theirs = read_wire(upstream.load(source))
    kept = kept_revisions(root / "spec")
    revision = revision or theirs.revision or kept[-1]
    if revision not in kept:
        raise DocumentError(
            f"there is no fragment of {revision}; kept are {', '.join(kept)} (see --revision)"
        )
    ours = fragment.load(root / "spec" / f"{revision}.yaml")
    with upstream.whatever_its_shape(source):
        return revision, agreement(ours, theirs).lines()


def check_spec(root: Path) -> list[str]:
    """What is wrong with the fragments themselves, and where generated/ or the lock lag behind."""
    found = []
    for one in fragment.fragments(root / "spec"):
        document = fragment.load(one.file)
        try:
            validate(document)
            upstream_side(document)
        except (OpenAPIValidationError, DocumentError) as error:
            found.append(f"spec/{one.file.name}: {str(error).splitlines()[0]}")
    return found + codegen.check(root / "spec", root / "generated")


def main(root: Path, arguments: Sequence[str]) -> int:
    """0 all well, 1 differences (listed), 2 could not be checked."""
    options = _options(arguments)
    try:
        if options.upstream:
            revision, found = check_upstream(root, options.upstream, options.revision)
            well = f"{revision} agrees with {options.upstream} apart from its declared deviations"
        else:
            found = check_spec(root)
            well = "the fragments are valid, and generated/ and the lock are what spec/ makes"
    except _UNUSABLE as error:
        print(f"check: {error}", file=sys.stderr)
        return 2
    print("\n".join(found) if found else well)
    return 1 if found else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/check",
        description="Check spec/ and generated/, or whether upstream still agrees with a fragment.",
        epilog="Exit codes: 0 all well; 1 differences, which are listed; 2 could not be checked.",
    )
    parser.add_argument("--upstream", metavar="FILE|URL", help="the owner's OpenAPI document")
    parser.add_argument("--revision", help="fragment to compare (default: the document's own)")
    options = parser.parse_args(arguments)
    if options.revision and not options.upstream:
        parser.error("--revision needs --upstream")
    return options
