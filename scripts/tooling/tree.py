"""Changes the repository completely or not at all, by means of a git worktree."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

# Places that bump and retire write.
WRITTEN = ("spec", "generated", "tests/cassettes", "CHANGELOG.md")
# Places that they read, with uncommitted changes.
_READ = ("overlay", "scripts")
# The ref of the tree as the last bump or retire left it.
_DONE = "refs/worktree/written-by-bump"
_SETTINGS = (
    *("-c", "core.hooksPath=/dev/null", "-c", "core.autocrlf=false"),
    *("-c", "user.name=bump", "-c", "user.email=bump@localhost"),
)


class TreeError(Exception):
    """The repository is not in a usable state; the message says what to do."""


@contextmanager
def all_or_nothing(
    root: Path, *, also: Sequence[str] = (), last: Callable[[], object] = lambda: None
) -> Iterator[Path]:
    """A temporary worktree of the repository; changes made there are applied to `root` at the end.

    Nothing at `root` changes before the end of the block, so an exception, Ctrl-C or SIGTERM leaves
    it as it was. While changes are applied, Ctrl-C and SIGTERM are ignored.

    Args:
        also: files and folders that may be written besides those in WRITTEN.
        last: called after the changes are applied. If it raises, they are undone.
    Raises:
        TreeError: there is no git repository, or there are uncommitted changes in the places that
            would be written.
    """
    written = (*WRITTEN, *also)
    with _termination_raises(), ExitStack() as stack:
        before = _snapshot(root, (*written, *_READ))
        _refuse_dirt(root, before, written)
        copy = stack.enter_context(_worktree(root, before))
        yield copy
        after = _snapshot(copy, written)
        # An interrupt here would leave half of the files written.
        with _interrupts_ignored():
            _apply(root, before, after, written)
            try:
                last()
            except BaseException:
                _apply(root, after, before, written)
                raise
            _git(root, "update-ref", _DONE, after)
            stack.close()


@contextmanager
def _worktree(root: Path, commit: str) -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="revision-", ignore_cleanup_errors=True) as scratch:
        copy = Path(scratch) / "repository"
        _git(root, "worktree", "add", "--quiet", "--detach", str(copy), commit)
        try:
            yield copy
        finally:
            _git(root, "worktree", "remove", "--force", str(copy))


def _snapshot(root: Path, places: Sequence[str]) -> str:
    """A commit of the current files without ignored ones; it is on no branch."""
    if not (root / ".git").exists():
        raise TreeError("this is no git repository; changes are made with git, all or none of them")
    with tempfile.TemporaryDirectory(prefix="index-") as scratch:
        index = Path(scratch) / "index"
        _git(root, "read-tree", "HEAD", index=index)
        _git(root, "add", "--update", index=index)
        there = [name for name in places if (root / name).exists()]
        if there:
            _git(root, "add", "--all", "--", *there, index=index)
        tree = _git(root, "write-tree", index=index).decode().strip()
    return _git(root, "commit-tree", tree, "-p", "HEAD", "-m", "As it was").decode().strip()


def _refuse_dirt(root: Path, now: str, written: Sequence[str]) -> None:
    # Uncommitted changes by an earlier bump or retire are allowed, so that several of them can be
    # one commit.
    dirt = _changed(root, "HEAD", now, written)
    if _git(root, "for-each-ref", _DONE):
        dirt &= _changed(root, _DONE, now, written)
    if dirt:
        listed = "\n".join(f"  {name}" for name in sorted(dirt)[:10])
        more = f"\n  and {len(dirt) - 10} more" if len(dirt) > 10 else ""
        raise TreeError(
            f"there are uncommitted changes where this writes; commit or undo them first:\n"
            f"{listed}{more}"
        )


def _changed(root: Path, old: str, new: str, places: Sequence[str]) -> set[str]:
    names = _git(root, "diff-tree", "-r", "--name-only", "-z", old, new, "--", *places)
    return set(names.decode().split("\0")) - {""}


def _apply(root: Path, old: str, new: str, places: Sequence[str]) -> None:
    patch = _git(root, "diff-tree", "-r", "-p", "--binary", old, new, "--", *places)
    if patch:
        # git apply is atomic: it refuses everything if a file has changed meanwhile.
        _git(root, "apply", "--whitespace=nowarn", given=patch)
    for name in _changed(root, old, new, places):
        _remove_if_empty((root / name).parent)


def _remove_if_empty(folder: Path) -> None:
    while folder.is_dir() and all(child.name == "__pycache__" for child in folder.iterdir()):
        shutil.rmtree(folder)
        folder = folder.parent


def _git(
    root: Path, *arguments: str, given: bytes | None = None, index: Path | None = None
) -> bytes:
    # In a git hook, GIT_ variables may point to another repository.
    environment = {key: one for key, one in os.environ.items() if not key.startswith("GIT_")}
    if index:
        environment["GIT_INDEX_FILE"] = str(index)
    try:
        done = subprocess.run(
            ["git", *_SETTINGS, *arguments],
            cwd=root,
            env=environment,
            input=given,
            capture_output=True,
            start_new_session=True,  # Keeps Ctrl-C from killing git.
            check=False,
        )
    except FileNotFoundError as error:
        raise TreeError(f"git is missing ({error.filename}); changes are made with it") from error
    if done.returncode:
        told = done.stderr.decode(errors="replace").strip()
        raise TreeError(f"git {arguments[0]} failed: {told}")
    return done.stdout


@contextmanager
def _termination_raises() -> Iterator[None]:
    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    ignored = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(one, signal.SIG_IGN) for one in ignored]
    try:
        yield
    finally:
        for one, handler in zip(ignored, before, strict=True):
            signal.signal(one, handler)
