"""What the shell commands share: which Python they choose, and when they install."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BASH = shutil.which("bash")
SCRIPTS = ["scripts/demo", "scripts/test", "scripts/lib.sh", ".ci/run"]

pytestmark = pytest.mark.skipif(BASH is None, reason="the commands are for bash")


def program(folder: Path, name: str, body: str) -> None:
    folder.mkdir(exist_ok=True)
    file = folder / name
    file.write_text(f"#!{BASH}\n{body}\n")
    file.chmod(0o755)


def python(folder: Path, name: str, version: str) -> None:
    """A stand-in that says it is this version, and is new enough to be used."""
    program(folder, name, f'if [[ $2 == *print* ]]; then echo "{version}"; fi')


def run(code: str, *, path: Path, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    assert BASH is not None
    return subprocess.run(
        [BASH, "-c", f"set -euo pipefail; source '{ROOT}/scripts/lib.sh'; {code}"],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={"PATH": str(path)},
        check=False,
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_is_valid_bash(script: str) -> None:
    assert BASH is not None
    subprocess.run([BASH, "-n", str(ROOT / script)], check=True)


@pytest.mark.parametrize("script", [name for name in SCRIPTS if not name.endswith(".sh")])
def test_a_command_can_be_run_as_it_is(script: str) -> None:
    assert os.access(ROOT / script, os.X_OK)


def test_the_newest_python_that_works_is_chosen(tmp_path: Path) -> None:
    python(tmp_path, "python3.11", "0311")
    python(tmp_path, "python3", "0312")
    program(tmp_path, "python3.14", "exit 127")
    assert run("newest_python", path=tmp_path).stdout.strip() == str(tmp_path / "python3")


def test_an_older_python_is_passed_over(tmp_path: Path) -> None:
    program(tmp_path, "python3", f'exec "{sys.executable}" -c "import sys; sys.exit(1)"')
    python(tmp_path, "python", "0311")
    assert run("newest_python", path=tmp_path).stdout.strip() == str(tmp_path / "python")


def test_without_a_usable_python_one_line_says_what_to_install(tmp_path: Path) -> None:
    done = run("newest_python", path=tmp_path)
    assert done.returncode == 1
    assert "Install one" in done.stderr


def test_this_python_is_usable(tmp_path: Path) -> None:
    done = run(
        f"usable_python '{sys.executable}' && python_version '{sys.executable}'", path=tmp_path
    )
    assert done.stdout.strip() == "{:02d}{:02d}".format(*sys.version_info[:2])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A project whose pip only notes what it was asked for."""
    venv = tmp_path / ".venv" / "bin"
    venv.mkdir(parents=True)
    program(venv, "python", 'if [[ $1 == -m ]]; then echo "$@" >>asked; fi')
    program(venv, "pip", "")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    return tmp_path


def set_up(project: Path, *arguments: str) -> list[str]:
    """What was installed."""
    asked = project / "asked"
    asked.unlink(missing_ok=True)
    done = run(f"set_up {' '.join(arguments)}", path=Path(os.environ["PATH"]), cwd=project)
    assert done.returncode == 0, done.stderr
    lines = asked.read_text().splitlines() if asked.exists() else []
    return [line.split(" --disable-pip-version-check ")[1] for line in lines]


def test_setting_up_installs_once_and_again_when_pyproject_changes(project: Path) -> None:
    wanted = ["--upgrade pip>=25.1", "--editable .[cli]"]
    assert set_up(project) == wanted
    assert set_up(project) == []
    (project / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    assert set_up(project) == wanted


def test_the_tools_for_checking_are_installed_only_where_they_are_needed(project: Path) -> None:
    set_up(project)
    assert set_up(project, "dev")[-1] == "--group dev"
    assert set_up(project, "dev") == []
    assert set_up(project) == []


def test_an_installation_that_failed_is_tried_again(project: Path) -> None:
    working = (project / ".venv/bin/python").read_text()
    program(project / ".venv/bin", "python", "if [[ $1 == -m ]]; then exit 1; fi")
    assert run("set_up", path=Path(os.environ["PATH"]), cwd=project).returncode == 1
    (project / ".venv/bin/python").write_text(working)
    assert set_up(project) != []
