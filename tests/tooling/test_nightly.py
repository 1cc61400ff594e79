"""The nightly workflow finds a newer revision and moves to it as a pull request."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).resolve().parents[2]
WORKFLOW = YAML(typ="safe").load(ROOT / ".github" / "workflows" / "upstream.yml")
JOBS: dict[str, Any] = WORKFLOW["jobs"]


def script(job: str, number: int) -> str:
    found: str = JOBS[job]["steps"][number]["run"]
    return found


def run(folder: Path, text: str, programs: dict[str, str], **variables: str) -> int:
    """Run a step as GitHub does, with stand-ins for programs that reach beyond this machine."""
    for name, body in programs.items():
        program = folder / "bin" / name
        program.parent.mkdir(exist_ok=True)
        program.write_text(f"#!/usr/bin/env bash\n{body}\n", encoding="utf-8")
        program.chmod(0o755)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = {"PATH": path, "RUNNER_TEMP": str(folder), **variables}
    command = ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c", text]
    return subprocess.run(command, cwd=folder, env=environment, check=False).returncode


@pytest.mark.parametrize(
    ("published", "next_one"),
    [
        (["2030-01-15", "2030-04-15"], None),
        (["2030-04-15", "2030-07-15", "2030-10-15"], "2030-10-15"),
        (["2031-01-15.pre", "main", "2031-01-15/x", "$(touch mark)"], None),
        ([], None),
    ],
)
def test_it_finds_what_is_newer_than_all_we_keep(
    tmp_path: Path, published: list[str], next_one: str | None
) -> None:
    (tmp_path / "spec").mkdir()
    for date in ("2030-01-15", "2030-04-15"):
        (tmp_path / "spec" / f"{date}.yaml").touch()
    heads = "".join(f"0123abcd\trefs/heads/{name}\n" for name in published)
    (tmp_path / "heads").write_text(heads, encoding="utf-8")
    out = tmp_path / "out"
    programs = {"git": f"cat {tmp_path / 'heads'}", "jq": "cat"}
    assert run(tmp_path, script("revisions", 1), programs, GITHUB_OUTPUT=str(out)) == 0
    told = out.read_text(encoding="utf-8").splitlines()
    assert "newest=2030-04-15" in told
    assert [line for line in told if line.startswith("next=")] == (
        [f"next={next_one}"] if next_one else []
    )
    assert not (tmp_path / "mark").exists()


@pytest.mark.parametrize(("code", "goes_on"), [(0, True), (3, True), (1, False), (130, False)])
def test_questions_are_no_failure(tmp_path: Path, code: int, goes_on: bool) -> None:
    bump = tmp_path / "scripts" / "bump"
    bump.parent.mkdir()
    bump.write_text(f'#!/bin/sh\necho "$@"\nexit {code}\n', encoding="utf-8")
    bump.chmod(0o755)
    dates = {"NEXT": "2030-07-15", "NEWEST": "2030-04-15"}
    assert (run(tmp_path, script("bump", 2), {}, **dates) == 0) == goes_on
    assert "2030-07-15 --from 2030-04-15" in (tmp_path / "report").read_text(encoding="utf-8")


def test_the_report_is_the_text_of_the_pull_request(tmp_path: Path) -> None:
    (tmp_path / "report").write_text("@everyone\n", encoding="utf-8")
    calls = tmp_path / "calls"
    programs = {
        "git": f'[[ $1 == ls-remote ]] || echo "git $@" >> {calls}',
        "gh": f'echo "gh $@" >> {calls}',
    }
    assert run(tmp_path, script("bump", 3), programs, NEXT="2030-07-15") == 0
    assert (tmp_path / "body").read_text(encoding="utf-8") == (
        "~~~~~~~~text\n@everyone\n~~~~~~~~\n"
    )
    told = calls.read_text(encoding="utf-8")
    assert "push origin revision-2030-07-15" in told
    assert "gh pr create --head revision-2030-07-15" in told
    # After the branch is there; GitHub starts no tests for what the workflow's own token opens.
    assert told.endswith("gh workflow run tests.yml --ref revision-2030-07-15\n")


def test_the_workflow_may_start_the_tests() -> None:
    tests = YAML(typ="safe").load(ROOT / ".github" / "workflows" / "tests.yml")
    assert "workflow_dispatch" in tests["on"]
    assert JOBS["bump"]["permissions"]["actions"] == "write"


def test_a_pull_request_that_is_open_is_left_alone(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    programs = {"git": f'echo "$1" | tee -a {calls}', "gh": f"echo gh >> {calls}"}
    assert run(tmp_path, script("bump", 3), programs, NEXT="2030-07-15") == 0
    assert calls.read_text(encoding="utf-8") == "ls-remote\n"
