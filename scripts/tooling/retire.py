"""The command scripts/retire: removes a revision and all that was made from it."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from tooling import changes, codegen
from tooling.bump import FAILURES, BumpError, kept_revisions
from tooling.tree import all_or_nothing


def retire(root: Path, revision: str) -> list[str]:
    """Remove `revision` from the project at `root`.

    Returns:
        The revisions that are left, oldest first.
    Raises:
        one of bump.FAILURES: nothing was changed.
    """
    kept = kept_revisions(root / "spec")
    if revision not in kept:
        raise BumpError(f"there is no revision {revision}; kept are {', '.join(kept)}")
    left = [one for one in kept if one != revision]
    if not left:
        raise BumpError(f"{revision} is the only revision; bump to another one first")
    with all_or_nothing(root) as copy:
        (copy / "spec" / f"{revision}.yaml").unlink()
        codegen.generate(copy / "spec", copy / "generated")
        _remove_cassettes(copy / "tests" / "cassettes", revision)
        _write_changelog(copy / "CHANGELOG.md", revision, left)
    return left


def _remove_cassettes(folder: Path, revision: str) -> None:
    for found in list(folder.rglob(f"*{revision}*")):
        if found.is_dir():
            shutil.rmtree(found)
        else:
            found.unlink(missing_ok=True)


def _write_changelog(file: Path, revision: str, left: Sequence[str]) -> None:
    text = file.read_text(encoding="utf-8") if file.exists() else "# Changes\n"
    entry = (
        f"## Revision {revision}, retired\n\n"
        f'`Client(revision="{revision}")` raises `ValueError`; use {" or ".join(reversed(left))}.'
    )
    file.write_text(changes.changelog(text, entry), encoding="utf-8")


def main(root: Path, arguments: Sequence[str]) -> int:
    """0 done, 1 failed, 2 usage, 130 interrupted."""
    if len(arguments) != 1 or arguments[0].startswith("-"):
        print("usage: scripts/retire REVISION", file=sys.stderr)
        return 0 if arguments == ["--help"] else 2
    try:
        left = retire(root, arguments[0])
    except FAILURES as error:
        print(f"retire: {error}\nThe tree is as it was.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("retire: interrupted. The tree is as it was.", file=sys.stderr)
        return 130
    print(f"{arguments[0]} is gone; left: {', '.join(left)}")
    return 0
