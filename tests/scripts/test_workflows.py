"""The workflows: what they run is pinned, and a release is what its tag says."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

FOLDER = Path(__file__).resolve().parents[2] / ".github" / "workflows"
WORKFLOWS = sorted(FOLDER.glob("*.yml"))
RELEASE: dict[str, Any] = YAML(typ="safe").load(FOLDER / "release.yml")


@pytest.mark.parametrize("file", WORKFLOWS, ids=lambda file: file.name)
def test_every_action_is_pinned_by_commit_and_says_its_version(file: Path) -> None:
    uses = re.findall(r"uses: (.*)", file.read_text(encoding="utf-8"))
    assert uses
    for used in uses:
        assert re.fullmatch(r"[\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+", used), used


def test_only_the_job_that_publishes_may_ask_for_a_token() -> None:
    assert RELEASE["permissions"] == {"contents": "read"}
    may_write = {name for name, job in RELEASE["jobs"].items() if "permissions" in job}
    assert may_write == {"publish"}
    assert set(RELEASE["jobs"]["publish"]["needs"]) == RELEASE["jobs"].keys() - {"publish"}


@pytest.mark.skipif(shutil.which("bash") is None, reason="the step is for bash")
@pytest.mark.parametrize(
    ("tag", "version", "changelog", "passes"),
    [
        ("v1.2.0", "1.2.0", "## [1.2.0] - 2026-12-01\n", True),
        ("v1.2.1", "1.2.0", "## [1.2.0] - 2026-12-01\n", False),
        ("v1.2.0", "1.2.0", "## [Unreleased]\n", False),
    ],
)
def test_a_tag_has_to_say_the_version_and_the_changelog_to_name_it(
    tmp_path: Path, tag: str, version: str, changelog: str, passes: bool
) -> None:
    (package := tmp_path / "overlay" / "klaviyo_variant_jobs").mkdir(parents=True)
    (package / "version.py").write_text(f'"""Words."""\n\n__version__ = "{version}"\n')
    (tmp_path / "CHANGELOG.md").write_text(changelog)
    (step,) = (s for s in RELEASE["jobs"]["build"]["steps"] if "tag" in s.get("name", ""))
    ran = subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        cwd=tmp_path,
        env={"GITHUB_REF_NAME": tag, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=False,
    )
    assert (ran.returncode == 0) is passes
