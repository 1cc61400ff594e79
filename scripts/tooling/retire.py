"""The command scripts/retire: removes a revision and everything generated from it."""

from __future__ import annotations

import argparse
import shutil
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from dateutil.relativedelta import relativedelta

from tooling import changes, codegen, fragment
from tooling.bump import FAILURES, BumpError, day
from tooling.examples import EXAMPLES, pin
from tooling.terminal import say
from tooling.tree import all_or_nothing


def retire(root: Path, revision: str) -> list[str]:
    """Remove `revision` from the project at `root`.

    Examples that pin it are changed to the newest one.

    Returns:
        The revisions that are left, oldest first.
    Raises:
        one of bump.FAILURES: nothing was changed.
    """
    left = _others(fragment.kept_dates(root / "spec"), revision)
    with all_or_nothing(root, also=EXAMPLES) as copy:
        (copy / "spec" / f"{revision}.yaml").unlink()
        codegen.generate(copy / "spec", copy / "generated")
        _remove_cassettes(copy / "tests" / "cassettes", revision)
        pin(copy, revision, left[-1])
        _remove_remark(copy / "README.md", revision)
        _write_changelog(copy / "CHANGELOG.md", revision, left)
    return left


def _others(kept: Sequence[str], revision: str) -> list[str]:
    if revision not in kept:
        raise BumpError(f"there is no revision {revision}; kept are {', '.join(kept)}")
    others = [one for one in kept if one != revision]
    if not others:
        raise BumpError(f"{revision} is the only revision; bump to another one first")
    if revision == kept[-1]:
        raise BumpError(
            f"{revision} is the newest revision, which services that pin none are moved to; "
            f"without it they would fall back to {others[-1]}. Bump to a newer one first"
        )
    return others


def _remove_cassettes(folder: Path, revision: str) -> None:
    for found in list(folder.rglob(f"*{revision}*")):
        if found.is_dir():
            shutil.rmtree(found)
        else:
            found.unlink(missing_ok=True)


def _remove_remark(file: Path, revision: str) -> None:
    """Remove the paragraph about this revision."""
    if file.exists():
        paragraphs = file.read_text(encoding="utf-8").split("\n\n")
        left = [one for one in paragraphs if not one.startswith(f"> **Revision {revision} ")]
        file.write_text("\n\n".join(left), encoding="utf-8")


def _write_changelog(file: Path, revision: str, left: Sequence[str]) -> None:
    text = file.read_text(encoding="utf-8") if file.exists() else "# Changes\n"
    name = changes.exported_name(revision)
    entry = (
        f"## Revision {revision}, retired\n\n"
        f'`Client(revision="{revision}")` raises `ValueError`, `{name}` is gone; '
        f"use {' or '.join(_alive(left))}."
    )
    file.write_text(changes.changelog(text, entry), encoding="utf-8")


def _alive(left: Sequence[str]) -> list[str]:
    """The revisions that the API has not retired (it does so after two years), newest first."""
    today = datetime.now(UTC).date()
    alive = [one for one in left if date.fromisoformat(one) + relativedelta(years=2) > today]
    return alive[::-1] or [left[-1]]


def main(root: Path, arguments: Sequence[str]) -> int:
    """0 done, 1 failed, 2 usage, 130 interrupted."""
    parser = argparse.ArgumentParser(
        prog="scripts/retire",
        description="Remove a revision of the API, and all that was made from it.",
        epilog="Exit codes: 0 done; others: failed, and the tree is as it was.",
    )
    parser.add_argument(
        "revision", type=day, metavar="REVISION", help="a kept one that is not the newest"
    )
    revision = parser.parse_args(arguments).revision
    try:
        left = retire(root, revision)
    except FAILURES as error:
        say(f"retire: {error}\nThe tree is as it was.", error=True)
        return 1
    except KeyboardInterrupt:
        say("retire: interrupted. The tree is as it was.", error=True)
        return 130
    say(f"{revision} is gone; left: {', '.join(left)}")
    return 0
