"""Changes the repository as a whole or not at all."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatch
from pathlib import Path
from types import FrameType

# What bump and retire write.
WRITTEN = ("spec", "generated", "tests/cassettes", "CHANGELOG.md")
# What they need besides.
_READ = ("overlay", "scripts", "pyproject.toml")
_PASSED_OVER = ("__pycache__", ".*_cache")


class TreeError(Exception):
    """The tree is not in a state to work on; the message says what to do."""


@contextmanager
def all_or_nothing(
    root: Path, *, also: Sequence[str] = (), last: Callable[[], object] = lambda: None
) -> Iterator[Path]:
    """A copy of the repository to work in; what changed in it moves into place at the end.

    Until then nothing at `root` is touched, so an exception, Ctrl-C or SIGTERM leaves it as it was.
    From there on Ctrl-C and SIGTERM are ignored until all is done.

    Args:
        also: files and folders that may be written besides those in WRITTEN.
        last: what is still to be done then. When it raises, all is moved back.
    Raises:
        TreeError: there are uncommitted changes in the places that would be written.
    """
    written = (*WRITTEN, *also)
    _refuse_dirt(root, written)
    with _termination_raises(), ExitStack() as stack:
        made = tempfile.TemporaryDirectory(prefix="revision-", ignore_cleanup_errors=True)
        scratch = Path(stack.enter_context(made))
        copy, before = scratch / "repository", scratch / "before"
        for name in {*written, *_READ}:
            _copy(root / name, copy / name)
        if (root / ".venv").exists():
            (copy / ".venv").symlink_to((root / ".venv").resolve(), target_is_directory=True)
        yield copy
        changed = _changed(copy, root, before, written)
        # Moving files takes milliseconds; half of them moved would be worse than waiting. Who
        # interrupts the rest is told that nothing has changed, so nothing interrupts the rest.
        with _interrupts_ignored():
            _install(changed, copy, root, before, last)
            stack.close()


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns(*_PASSED_OVER))
    elif source.exists():
        shutil.copy2(source, target)


@contextmanager
def _termination_raises() -> Iterator[None]:
    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _changed(copy: Path, root: Path, before: Path, written: Sequence[str]) -> dict[str, str | None]:
    """What differs, by name with its new digest; how it is now is kept in `before`."""
    old, new = _files(root, written), _files(copy, written)
    changed = [name for name in sorted({*old, *new}) if old.get(name) != new.get(name)]
    for name in changed:
        if name in old:
            _copy(root / name, before / name)
    return {name: new.get(name) for name in changed}


def _install(
    changed: dict[str, str | None],
    copy: Path,
    root: Path,
    before: Path,
    last: Callable[[], object],
) -> None:
    try:
        for name in changed:
            _move(copy / name, root / name)
        _remember(root, changed)
        last()
    except BaseException:
        for name in changed:
            _move(before / name, root / name)
        raise


def _move(source: Path, target: Path) -> None:
    if not source.exists():
        target.unlink(missing_ok=True)
        _remove_if_empty(target.parent)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    beside = target.with_name(f".{target.name}.new")
    try:
        shutil.copy2(source, beside)
        beside.replace(target)
    except OSError:
        beside.unlink(missing_ok=True)
        raise


def _remove_if_empty(folder: Path) -> None:
    while folder.is_dir() and all(child.name == "__pycache__" for child in folder.iterdir()):
        shutil.rmtree(folder)
        folder = folder.parent


@contextmanager
def _interrupts_ignored() -> Iterator[None]:
    ignored = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(one, signal.SIG_IGN) for one in ignored]
    try:
        yield
    finally:
        for one, handler in zip(ignored, before, strict=True):
            signal.signal(one, handler)


def _files(root: Path, written: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in written:
        top = root / name
        for file in [top] if top.is_file() else top.rglob("*"):
            if file.is_file() and not _is_passed_over(file.relative_to(root)):
                found[file.relative_to(root).as_posix()] = _digest(file)
    return found


def _is_passed_over(file: Path) -> bool:
    return any(fnmatch(part, pattern) for part in file.parts for pattern in _PASSED_OVER)


def _digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


# Dirt -------------------------------------------------------------------------------------------
# What an earlier bump or retirement has written and nobody has committed yet is no dirt: a move
# along several revisions can be one commit. So it is remembered, in git's own folder.


def _refuse_dirt(root: Path, written: Sequence[str]) -> None:
    changed = _git(root, "status", "--porcelain", "-z", "-uall", "--no-renames", "--", *written)
    if changed is None:
        return
    remembered = _remembered(root)
    dirt = []
    for name in (line[3:] for line in changed.split("\0") if line):
        file = root / name
        now = _digest(file) if file.is_file() else None
        if name not in remembered or remembered[name] != now:
            dirt.append(name)
    if dirt:
        listed = "\n".join(f"  {name}" for name in dirt[:10])
        more = f"\n  and {len(dirt) - 10} more" if len(dirt) > 10 else ""
        raise TreeError(
            f"there are uncommitted changes where this writes; commit or undo them first:\n"
            f"{listed}{more}"
        )


def _remember(root: Path, written: dict[str, str | None]) -> None:
    file = _memory(root)
    if file is not None:
        file.write_text(json.dumps({**_remembered(root), **written}), encoding="utf-8")


def _remembered(root: Path) -> dict[str, str | None]:
    file = _memory(root)
    if file is None or not file.exists():
        return {}
    try:
        found = json.loads(file.read_bytes())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _memory(root: Path) -> Path | None:
    told = _git(root, "rev-parse", "--git-path", "written-by-bump.json")
    return None if told is None else root / told.strip()


def _git(root: Path, *arguments: str) -> str | None:
    """What git says, None where there is no git or no repository of its own at `root`."""
    if not (root / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout
