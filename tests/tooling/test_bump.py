"""A bump does all of its work or none; its report speaks to those who import us."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tooling import bump, check, codegen, retire, tree
from tooling.bump import BumpError
from tooling.tree import TreeError

ROOT = Path(__file__).resolve().parents[2]
UPSTREAM = ROOT.parent / "shared" / "upstream"
OLDEST, NEWEST = "2022-10-17", "2026-07-15"
STEPS = [
    "2023-12-15",
    "2024-10-15",
    "2025-01-15",
    "2026-04-15.before-2026-06-30",
    "2026-04-15",
    "2026-07-15",
]

RUN = "import sys, pathlib, tooling.bump as b; sys.exit(b.main(pathlib.Path.cwd(), sys.argv[1:]))"

pytestmark = pytest.mark.skipif(not UPSTREAM.exists(), reason="upstream documents are not at hand")


@pytest.fixture(scope="module")
def oldest_only(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clone that keeps nothing but the oldest revision. Without scripts/record: see its tests."""
    clone = tmp_path_factory.mktemp("clone")
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("spec", "scripts", "overlay"):
        shutil.copytree(ROOT / name, clone / name, ignore=ignored)
    for fragment in (clone / "spec").glob("2*.yaml"):
        if fragment.stem != OLDEST:
            fragment.unlink()
    (clone / "scripts" / "record").unlink()
    (clone / "generated").mkdir()
    codegen.generate(clone / "spec", clone / "generated")
    git(clone, "init", "--quiet")
    commit(clone)
    return clone


@pytest.fixture
def clone(oldest_only: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(oldest_only, tmp_path / "clone", symlinks=True))


def git(clone: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    return subprocess.run(
        ["git", *identity, *arguments], cwd=clone, check=True, capture_output=True, text=True
    ).stdout


def commit(clone: Path) -> None:
    git(clone, "add", "--all")
    git(clone, "commit", "--quiet", "--message", "as it was")


def status(clone: Path) -> str:
    return git(clone, "status", "--porcelain", "--untracked-files=all")


def arguments(new: str, old: str, document: str, *more: str) -> list[str]:
    return [new, "--from", old, "--upstream-new", str(UPSTREAM / f"{document}.json"), *more]


def test_it_goes_along_every_published_revision(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old = OLDEST
    for document in STEPS:
        new = document[:10]
        assert bump.main(clone, arguments(new, old, document)) == 0, capsys.readouterr().err
        assert check.check_upstream(clone, str(UPSTREAM / f"{document}.json"), new)[1] == []
        old = new
    assert check.check_spec(clone) == []
    changelog = (clone / "CHANGELOG.md").read_text(encoding="utf-8")
    dates = [line[12:22] for line in changelog.splitlines() if line.startswith("## Revision ")]
    assert dates == [document[:10] for document in reversed(STEPS)]


def test_the_report_lists_what_changed_gravest_first(clone: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    options = ("--upstream-old", str(UPSTREAM / f"{OLDEST}.json"), "--report", str(report))
    assert bump.main(clone, arguments("2023-12-15", OLDEST, "2023-12-15", *options)) == 0
    rows = json.loads(report.read_bytes())
    assert all(set(row) == {"level", "where", "what"} for row in rows)
    found = {(row["level"], row["where"]) for row in rows}
    assert {
        ("breaking", "200.data[].attributes.job_id"),
        ("breaking", "200.included"),
        ("compatible", "200.data[].id"),
        ("service", "scopes"),
        ("docs", "200.data[].id"),
    } <= found
    assert rows[0]["level"] == "breaking"
    assert rows[-1]["level"] == "docs"


def test_the_changelog_speaks_python(clone: Path) -> None:
    bump.main(clone, arguments("2023-12-15", OLDEST, "2023-12-15"))
    changelog = (clone / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "`job.attributes.job_id` is gone; use `job_id(job)`" in changelog


def test_what_only_a_person_can_decide_is_named(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads((UPSTREAM / f"{OLDEST}.json").read_bytes())
    operation = next(iter(document["paths"].values()))["get"]
    operation["parameters"].append(
        {"name": "company_id", "in": "query", "required": True, "schema": {"type": "string"}}
    )
    edited = tmp_path / "edited.json"
    edited.write_text(json.dumps(document), encoding="utf-8")
    given = [OLDEST, "--from", OLDEST, "--upstream-new", str(edited)]
    assert bump.main(clone, given) == bump.EXIT_DECIDE
    assert "query company_id: what the client is to send there" in capsys.readouterr().out
    assert check.check_upstream(clone, str(edited), None) == (OLDEST, [])


def test_a_document_that_was_not_edited_changes_nothing(clone: Path) -> None:
    assert bump.main(clone, arguments(OLDEST, OLDEST, OLDEST)) == 0
    assert status(clone) == ""


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (["2026-07-15", "--from", "2021-01-01"], "no revision 2021-01-01 to start from"),
        (["2026-13-15", "--from", OLDEST], "'2026-13-15' is no revision"),
        (["2026-07-15", "--from", OLDEST, "--upstream-new", "missing.json"], "No such file"),
        (["2026-07-15", "--from", OLDEST, "--upstream-old", "missing.json"], "missing.json"),
        (["2026-07-15", "--from", OLDEST, "--report", "no/such/place.json"], "cannot be written"),
    ],
)
def test_a_failure_is_told_and_leaves_the_tree_as_it_was(
    clone: Path, capsys: pytest.CaptureFixture[str], given: list[str], told: str
) -> None:
    if "--upstream-new" not in given:
        given = [*given, "--upstream-new", str(UPSTREAM / f"{NEWEST}.json")]
    assert bump.main(clone, given) == 1
    message = capsys.readouterr().err
    assert told in message
    assert "The tree is as it was." in message
    assert status(clone) == ""


def test_a_revision_that_is_kept_is_not_made_from_another_one(clone: Path) -> None:
    bump.main(clone, arguments("2023-12-15", OLDEST, "2023-12-15"))
    with pytest.raises(BumpError, match="scripts/bump 2023-12-15 --from 2023-12-15"):
        bump.bump(clone, "2023-12-15", OLDEST, upstream_old=None, upstream_new=None)


def test_a_failure_late_in_the_work_leaves_the_tree_as_it_was(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = clone / "scripts" / "record"
    record.write_text("#!/bin/sh\necho no sandbox >&2\nexit 1\n", encoding="utf-8")
    record.chmod(0o755)
    commit(clone)
    assert bump.main(clone, arguments(NEWEST, OLDEST, NEWEST)) == 1
    assert "no sandbox" in capsys.readouterr().err
    assert status(clone) == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_bump_leaves_the_tree_as_it_was(clone: Path, number: signal.Signals) -> None:
    record = clone / "scripts" / "record"
    record.write_text(f"#!/bin/sh\nkill -{number.value} $PPID\nsleep 30\n", encoding="utf-8")
    record.chmod(0o755)
    commit(clone)
    done = subprocess.run(
        [sys.executable, "-c", RUN, *arguments(NEWEST, OLDEST, NEWEST)],
        cwd=clone,
        env={**os.environ, "PYTHONPATH": "scripts", "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 130, done.stderr
    assert "interrupted. The tree is as it was." in done.stderr
    assert status(clone) == ""


@pytest.mark.parametrize(
    "name", [f"spec/{OLDEST}.yaml", "generated/stray.py", "CHANGELOG.md", "tests/cassettes/a.yaml"]
)
def test_a_dirty_tree_is_refused(clone: Path, name: str) -> None:
    file = clone / name
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a", encoding="utf-8") as stream:
        stream.write("# edited\n")
    before = status(clone)
    with pytest.raises(TreeError, match=name), tree.all_or_nothing(clone):
        pytest.fail("it should not start")
    assert status(clone) == before


def test_what_an_earlier_bump_wrote_is_no_dirt_until_it_is_edited(clone: Path) -> None:
    assert bump.main(clone, arguments("2023-12-15", OLDEST, "2023-12-15")) == 0
    assert status(clone)
    with tree.all_or_nothing(clone):
        pass
    (clone / "spec" / "2023-12-15.yaml").write_text("edited", encoding="utf-8")
    with pytest.raises(TreeError, match=r"2023-12-15\.yaml"), tree.all_or_nothing(clone):
        pytest.fail("it should not start")


def test_a_retired_revision_leaves_nothing_behind(
    clone: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bump.main(clone, arguments("2023-12-15", OLDEST, "2023-12-15"))
    cassette = clone / "tests" / "cassettes" / OLDEST / "one_page.yaml"
    cassette.parent.mkdir(parents=True)
    cassette.write_text("{}", encoding="utf-8")
    commit(clone)
    assert retire.main(clone, [OLDEST]) == 0
    assert check.check_spec(clone) == []
    assert not (clone / "spec" / f"{OLDEST}.yaml").exists()
    assert not cassette.parent.exists()
    assert not list((clone / "generated").rglob("r2022*"))
    assert retire.main(clone, [OLDEST]) == 1
    assert "kept are 2023-12-15" in capsys.readouterr().err


def test_the_last_revision_cannot_be_retired(clone: Path) -> None:
    with pytest.raises(BumpError, match="only revision"):
        retire.retire(clone, OLDEST)


def test_check_tells_differences_with_exit_code_1(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = tmp_path / "edited.json"
    text = (UPSTREAM / f"{OLDEST}.json").read_text(encoding="utf-8")
    edited.write_text(text.replace('"350/s"', '"75/s"'), encoding="utf-8")
    assert check.main(clone, ["--upstream", str(edited)]) == 1
    assert "350/s" in capsys.readouterr().out
    assert check.main(clone, ["--upstream", str(UPSTREAM / f"{OLDEST}.json")]) == 0
    assert check.main(clone, ["--upstream", str(UPSTREAM / f"{NEWEST}.json")]) == 2
