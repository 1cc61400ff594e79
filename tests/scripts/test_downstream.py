"""What the last release tested as an importer is run against this tree."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [
    pytest.mark.skipif(shutil.which("git") is None, reason="needs git"),
    pytest.mark.skipif(shutil.which("bash") is None, reason="the commands are for bash"),
]
AUTHOR = ("-c", "user.name=A Test", "-c", "user.email=a@test.invalid")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A repository of its own with what an importer tests."""
    for name in ("scripts/downstream", "scripts/lib.sh", "tests/stranger", "tests/typing"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        (tmp_path / name).parent.mkdir(exist_ok=True)
        copy(ROOT / name, tmp_path / name)
    say_version(tmp_path, "1.2.3")
    # The environment of these tests, which holds this tree; nothing is installed.
    stand_in = tmp_path / "scripts" / "lib.sh"
    stand_in.write_text(
        'heading() { echo "== $*"; }\nset_up() { true; }\n'
        f'PATH="{Path(sys.executable).parent}:$PATH"\n'
    )
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def say_version(tree: Path, version: str) -> None:
    file = tree / "overlay" / "klaviyo_variant_jobs" / "version.py"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f'__version__ = "{version}"\n')


def git(tree: Path, *arguments: str) -> None:
    subprocess.run(["git", *AUTHOR, *arguments], cwd=tree, check=True, capture_output=True)


def commit(tree: Path) -> None:
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--allow-empty", "--message", "A change")


def downstream(tree: Path) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    return subprocess.run(
        ["bash", "scripts/downstream"],
        cwd=tree,
        env=kept,
        text=True,
        capture_output=True,
        check=False,
        timeout=300,
    )


def test_it_is_skipped_with_a_word_before_the_first_release(tree: Path) -> None:
    git(tree, "tag", "v1.2.3")  # Of this very commit: the release that is being made.
    ran = downstream(tree)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith("downstream: skipped, there is no tag")


def test_it_passes_while_nothing_breaks_importers(tree: Path) -> None:
    git(tree, "tag", "v1.2.2")
    commit(tree)
    ran = downstream(tree)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "what imports v1.2.2 works with this tree" in ran.stdout


def test_a_break_fails_unless_the_version_announces_it(tree: Path) -> None:
    service = tree / "tests" / "stranger" / "uploads.py"
    right = service.read_text()
    service.write_text(right.replace("import (", "import (\n    Ticket,", 1))
    commit(tree)
    git(tree, "tag", "v1.2.2")
    service.write_text(right)
    commit(tree)
    ran = downstream(tree)
    assert ran.returncode == 1
    assert "what imports v1.2.2 breaks, and 1.2.3 must not" in ran.stderr
    say_version(tree, "2.0.0")
    commit(tree)
    ran = downstream(tree)
    assert ran.returncode == 0
    assert "what imports v1.2.2 breaks, as 2.0.0 may do" in ran.stdout
