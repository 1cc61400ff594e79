"""The lowest versions that the metadata allows."""

from __future__ import annotations

from pathlib import Path

import pytest

from tooling import lowest

ROOT = Path(__file__).parents[2]


def test_the_lowest_version_of_each_requirement_is_pinned() -> None:
    asked = ["attrs>=23.1", "httpx>=0.27,<1", "python-dateutil >= 2.8.2"]
    assert list(lowest.lowest(asked)) == ["attrs==23.1", "httpx==0.27", "python-dateutil==2.8.2"]


@pytest.mark.parametrize("requirement", ["attrs", "attrs<24", "attrs==23.1"])
def test_a_requirement_without_a_lowest_version_is_refused(requirement: str) -> None:
    with pytest.raises(ValueError, match="no lower bound"):
        list(lowest.lowest([requirement]))


def test_every_dependency_of_the_project_says_its_lowest_version(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert lowest.main(ROOT, []) == 0
    named = [line.partition("==")[0] for line in capsys.readouterr().out.splitlines()]
    assert {"attrs", "httpx", "msgspec", "python-dateutil", "click"} <= set(named)
