"""A bump does all of its work or none; its report speaks to those who import us."""

from __future__ import annotations

import copy
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tooling import bump, check, codegen, fragment, retire, tree
from tooling.bump import BumpError
from tooling.changes import changelog, exported_name, in_python
from tooling.compare import Row
from tooling.prose import folded
from tooling.round_trip import RoundTrip
from tooling.tree import TreeError

ROOT = Path(__file__).resolve().parents[2]
UPSTREAM = ROOT.parent / "shared" / "upstream"
KEPT = fragment.fragments(ROOT / "spec")
Document = dict[str, Any]

# The one revision that the clones keep, and those they are moved to.
OLD, NEW, NEWER = "2030-01-15", "2030-04-15", "2030-07-15"

RUN = "import sys, pathlib, tooling.bump as b; sys.exit(b.main(pathlib.Path.cwd(), sys.argv[1:]))"


def ours(date: str) -> str:
    """The newest fragment as one of revision `date` that agrees with upstream in everything."""
    made = RoundTrip.of(KEPT[-1].file.read_text(encoding="utf-8").replace(KEPT[-1].date, date))
    del made.data["x-deviations"]
    return made.text


THEIRS: Document = YAML(typ="safe").load(ours(NEW))


def make_clone(target: Path, fragments: dict[str, str]) -> Path:
    """A clone that keeps these fragments. Without scripts/record: see its tests."""
    ignored = shutil.ignore_patterns("__pycache__")
    for name in ("spec/codegen", "scripts", "overlay"):
        shutil.copytree(ROOT / name, target / name, ignore=ignored)
    (target / "scripts" / "record").unlink()
    (target / "generated").mkdir()
    for date, text in fragments.items():
        (target / "spec" / f"{date}.yaml").write_text(text, encoding="utf-8")
    codegen.generate(target / "spec", target / "generated")
    git(target, "init", "--quiet")
    commit(target)
    return target


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clone(tmp_path_factory.mktemp("clone"), {OLD: ours(OLD)})


@pytest.fixture
def clone(pristine: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(pristine, tmp_path / "clone", symlinks=True))


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


def upstream(folder: Path, *edits: Callable[[Document], None], revision: str = NEW) -> str:
    """Writes the owner's document of a revision, with edits, and gives its path."""
    document = copy.deepcopy(THEIRS)
    document["info"]["version"] = revision
    for edit in edits:
        edit(document)
    file = folder / f"upstream-{revision}.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    return str(file)


@pytest.fixture
def unchanged(tmp_path: Path) -> list[str]:
    """Arguments of a bump to a revision that differs in nothing."""
    return [NEW, "--from", OLD, "--upstream-new", upstream(tmp_path)]


def schema(document: Document, component: str) -> Document:
    found: Document = document["components"]["schemas"][component]["properties"]
    return found


def attribute_goes(document: Document) -> None:
    del schema(document, "JobAttributes")["expires_at"]


def attribute_comes(document: Document) -> None:
    schema(document, "JobAttributes")["priority"] = {"type": ["string", "null"]}


def operation(document: Document) -> Document:
    (path,) = document["paths"].values()
    found: Document = path["get"]
    return found


def scope_comes(document: Document) -> None:
    operation(document)["x-klaviyo-scopes"] = ["catalogs:read", "profiles:read"]


def parameter_is_demanded(document: Document) -> None:
    operation(document)["parameters"].append(
        {"name": "company_id", "in": "query", "required": True, "schema": {"type": "string"}}
    )


def documents_after(date: str) -> list[Path]:
    """The real documents at hand of this and later revisions, in their order."""
    # A document with a suffix is of before its revision was edited in place.
    found = sorted(UPSTREAM.glob("2*.json"), key=lambda file: (file.stem[:10], -len(file.stem)))
    return [file for file in found if file.stem[:10] >= date]


@pytest.mark.skipif(not documents_after(KEPT[0].date), reason="no upstream documents are at hand")
def test_it_goes_along_every_published_revision(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    old, text = KEPT[0].date, KEPT[0].file.read_text(encoding="utf-8")
    clone = make_clone(tmp_path, {old: text})
    dates = []
    for document in documents_after(old):
        new = document.stem[:10]
        done = bump.main(clone, [new, "--from", old, "--upstream-new", str(document)])
        assert done == 0, capsys.readouterr().err
        assert check.check_upstream(clone, str(document), new).lines() == []
        if status(clone):
            dates.append(new)
        old = new
    assert check.check_spec(clone) == []
    log = clone / "CHANGELOG.md"
    told = log.read_text(encoding="utf-8").splitlines() if dates else []
    assert [line[13:23] for line in told if line.startswith("### Revision ")] == dates[::-1]


def test_the_report_lists_what_changed_gravest_first(clone: Path, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    before = upstream(tmp_path, revision=OLD)
    after = upstream(tmp_path, attribute_goes, attribute_comes, scope_comes)
    options = ["--upstream-old", before, "--upstream-new", after, "--report", str(report)]
    assert bump.main(clone, [NEW, "--from", OLD, *options]) == bump.EXIT_DECIDE
    rows = json.loads(report.read_bytes())
    assert all(set(row) == {"level", "where", "what"} for row in rows)
    assert [(row["level"], row["where"]) for row in rows] == [
        ("breaking", "200.data[].attributes.expires_at"),
        ("service", "scopes"),
        ("compatible", "200.data[].attributes.priority"),
        ("docs", "200.data[].attributes.priority"),
    ]


def test_the_changelog_speaks_python(clone: Path, tmp_path: Path) -> None:
    document = upstream(tmp_path, attribute_goes)
    assert bump.main(clone, [NEW, "--from", OLD, "--upstream-new", document]) == bump.EXIT_DECIDE
    changelog = (clone / "CHANGELOG.md").read_text(encoding="utf-8")
    assert "`job.attributes.expires_at` is gone" in changelog


def test_what_a_new_default_means_to_importers_is_told(
    clone: Path, unchanged: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bump.main(clone, unchanged) == 0
    changelog = (clone / "CHANGELOG.md").read_text(encoding="utf-8")
    for told in (capsys.readouterr().out, changelog):
        words = " ".join(told.split())
        assert f"Clients that pin no revision asked for {OLD} and now ask for {NEW}" in words
        assert f'`Client(revision="{OLD}")` now gives the union of all job models' in words
        assert "`from klaviyo_variant_jobs import R2030_01_15`" in words


def test_an_entry_is_folded_and_comes_first_under_unreleased(clone: Path, tmp_path: Path) -> None:
    log = clone / "CHANGELOG.md"
    kept = "### Added\n\n- A thing.\n\n## [1.0.0] - 2030-01-20\n\nThe first release.\n"
    log.write_text(f"# Changelog\n\nWords.\n\n## [Unreleased]\n\n{kept}", encoding="utf-8")
    commit(clone)
    document = upstream(tmp_path, scope_comes)
    assert bump.main(clone, [NEW, "--from", OLD, "--upstream-new", document]) == 0
    told = log.read_text(encoding="utf-8")
    begin = f"# Changelog\n\nWords.\n\n## [Unreleased]\n\n### Revision {NEW}, since {OLD}\n\n#### "
    assert told.startswith(begin)
    assert told.endswith(f"\n\n{kept}")
    assert max(map(len, told.splitlines())) <= 100


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("# Changes\n", "# Changes\n\n## [Unreleased]\n\n### Revision\n\n- New.\n"),
        (
            "# Changes\n\n## [1.0.0] - 2030-01-20\n\nA release.\n",
            "# Changes\n\n## [Unreleased]\n\n### Revision\n\n- New.\n\n"
            "## [1.0.0] - 2030-01-20\n\nA release.\n",
        ),
        (
            "# Changes\n\n## [Unreleased]\n\nNotes.\n\n## [1.0.0] - 2030-01-20\n",
            "# Changes\n\n## [Unreleased]\n\nNotes.\n\n### Revision\n\n- New.\n\n"
            "## [1.0.0] - 2030-01-20\n",
        ),
    ],
)
def test_a_changelog_gets_a_section_for_what_is_unreleased(before: str, after: str) -> None:
    assert changelog(before, "## Revision\n\n- New.\n") == after


def test_a_folded_line_never_begins_like_another_block_of_markdown() -> None:
    words = "x" * 20
    for mark in (
        "-",
        "#",
        "##[x]",
        ">",
        "1.",
        "12)",
        "+",
        "* *",
        "::add",
        "===",
        "|",
        "```",
        "~~~",
    ):
        for length in range(60, 100):
            told = folded(f"- {'a' * length} {mark} {words} {words} {words}")
            assert told.replace("\n ", "").startswith(f"- {'a' * length} {mark} {words}")
            assert not any(line.strip().startswith(mark) for line in told.splitlines()[1:])


def test_folding_keeps_headings_and_short_code_whole_and_can_be_repeated() -> None:
    code = "`Client(revision=R2030_01_15)`"
    text = f"## {'A heading ' * 12}\n\n- {f'{code} ' * 9}\n- An item.\n\n{'Words here. ' * 20}"
    told = folded(text)
    heading, *others = told.splitlines()
    assert heading.rstrip() == f"## {'A heading ' * 12}".rstrip()
    assert max(map(len, others)) <= 100
    assert told.count(code) == 9
    assert folded(told) == told


def test_a_revision_that_is_not_the_newest_moves_no_default(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    between = upstream(tmp_path, revision="2029-10-15")
    edited = upstream(tmp_path, scope_comes, revision=OLD)
    assert bump.main(clone, ["2029-10-15", "--from", OLD, "--upstream-new", between]) == 0
    assert bump.main(clone, [OLD, "--from", OLD, "--upstream-new", edited]) == 0
    assert "default" not in capsys.readouterr().out
    assert "default" not in (clone / "CHANGELOG.md").read_text(encoding="utf-8")


def test_examples_pin_the_newest_revision(clone: Path, tmp_path: Path) -> None:
    example = clone / "README.md"
    example.write_text(f'Client(revision="{OLD}") was Client(revision="2029-01-15")\n', "utf-8")
    commit(clone)
    between = upstream(tmp_path, revision="2029-10-15")
    assert bump.main(clone, ["2029-10-15", "--from", OLD, "--upstream-new", between]) == 0
    assert f'Client(revision="{OLD}")' in example.read_text(encoding="utf-8")
    later = upstream(tmp_path, revision=NEW)
    assert bump.main(clone, [NEW, "--from", "2029-10-15", "--upstream-new", later]) == 0
    assert example.read_text(encoding="utf-8") == (
        f'Client(revision="{NEW}") was Client(revision="2029-01-15")\n'
    )


def test_a_document_of_another_revision_is_taken_with_a_warning(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same, report = upstream(tmp_path, revision=NEWER), tmp_path / "report.json"
    sides = ["--upstream-old", same, "--upstream-new", same]
    assert bump.main(clone, [NEW, "--from", OLD, *sides, "--report", str(report)]) == 0
    assert capsys.readouterr().err.splitlines() == [
        f"bump: warning: {same} says it is revision {NEWER}, not {NEW}",
        f"bump: warning: {same} says it is revision {NEWER}, not {OLD}",
        "",
        "Written to spec, generated, tests/cassettes, CHANGELOG.md, README.md, overlay.",
        "Next: read what differs, run scripts/test, commit.",
        f"  git diff --no-index spec/{OLD}.yaml spec/{NEW}.yaml; git diff --no-index "
        "generated/klaviyo_variant_jobs_api/r2030_01_15 "
        "generated/klaviyo_variant_jobs_api/r2030_04_15",
    ]
    assert json.loads(report.read_bytes()) == []


@pytest.mark.parametrize("date", ["2030-02-30", "2030-13-01", "20300415", "2030-4-15", "newest"])
@pytest.mark.parametrize("given", [["{}", "--from", OLD], [NEW, "--from", "{}"]])
def test_what_is_no_day_of_the_calendar_is_a_wrong_use(
    clone: Path, given: list[str], date: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        bump.main(clone, [one.format(date) for one in given])
    assert caught.value.code == 2
    assert f"'{date}' is not a date" in capsys.readouterr().err


def test_an_identifier_that_moves_is_told_with_the_function_that_finds_it() -> None:
    where = "200.data[].attributes.job_id"
    told = in_python(Row("breaking", where, f"{where} is gone; it was a string."))
    assert told.startswith("`job.attributes.job_id` is gone; use `job_id(job)`")


def test_what_only_a_person_can_decide_is_named(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = upstream(tmp_path, parameter_is_demanded, revision=OLD)
    given = [OLD, "--from", OLD, "--upstream-new", edited]
    assert bump.main(clone, given) == bump.EXIT_DECIDE
    assert "query company_id: what the client is to send there" in capsys.readouterr().out
    assert check.check_upstream(clone, edited, None).lines() == []


def test_a_document_that_was_not_edited_changes_nothing(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [OLD, "--from", OLD, "--upstream-new", upstream(tmp_path, revision=OLD)]
    assert bump.main(clone, given) == 0
    assert f"Nothing was written: spec/{OLD}.yaml says all of this" in capsys.readouterr().err
    assert status(clone) == ""


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ([NEW, "--from", "2021-01-01"], "no revision 2021-01-01 to start from"),
        ([NEW, "--from", OLD, "--upstream-new", "missing.json"], "No such file"),
        ([NEW, "--from", OLD, "--upstream-old", "missing.json"], "missing.json"),
        ([NEW, "--from", OLD, "--report", "."], "the report cannot be written to .: Is a dir"),
        ([NEW, "--from", OLD, "--report", "no/place.json"], "no/place.json: No such file"),
    ],
)
def test_a_failure_is_told_and_leaves_the_tree_as_it_was(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], given: list[str], told: str
) -> None:
    if "--upstream-new" not in given:
        given = [*given, "--upstream-new", upstream(tmp_path)]
    assert bump.main(clone, given) == 1
    message = capsys.readouterr().err
    assert told in message
    assert "The tree is as it was." in message
    assert status(clone) == ""


def test_a_report_that_cannot_be_written_is_told_before_the_work_begins(
    clone: Path,
    tmp_path: Path,
    unchanged: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(bump, "all_or_nothing", lambda *_, **__: pytest.fail("it has begun"))
    assert bump.main(clone, [*unchanged, "--report", str(tmp_path)]) == 1
    assert f"the report cannot be written to {tmp_path}" in capsys.readouterr().err


def test_a_look_at_the_report_leaves_no_trace_when_the_bump_fails(
    clone: Path, tmp_path: Path
) -> None:
    earlier, none = tmp_path / "earlier.json", tmp_path / "none.json"
    earlier.write_text("[]", encoding="utf-8")
    for report in (earlier, none):
        given = [NEW, "--from", OLD, "--upstream-new", "missing.json", "--report", str(report)]
        assert bump.main(clone, given) == 1
    assert earlier.read_text(encoding="utf-8") == "[]"
    assert not none.exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_report_that_fails_at_the_very_end_leaves_the_tree_as_it_was(
    clone: Path, unchanged: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert bump.main(clone, [*unchanged, "--report", "/dev/full"]) == 1
    assert "No space left" in capsys.readouterr().err
    assert status(clone) == ""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_while_files_move_into_place_waits_for_the_end(
    clone: Path, number: signal.Signals
) -> None:
    done = []

    def interrupted() -> None:
        os.kill(os.getpid(), number)
        done.append(status(clone))

    handler = signal.getsignal(number)
    with tree.all_or_nothing(clone, last=interrupted) as copied:
        (copied / "CHANGELOG.md").write_text("# Changes\n", encoding="utf-8")
    assert done == ["?? CHANGELOG.md\n"] == [status(clone)]
    assert signal.getsignal(number) is handler


def test_a_revision_that_is_kept_is_not_made_from_another_one(
    clone: Path, unchanged: list[str]
) -> None:
    assert bump.main(clone, unchanged) == 0
    with pytest.raises(BumpError, match=f"scripts/bump {NEW} --from {NEW}"):
        bump.bump(clone, NEW, OLD, upstream_old=None, upstream_new=None)


def replace_record(clone: Path, body: str) -> None:
    """Let scripts/record do this and nothing else."""
    text = f"import os, sys, time\ndef main(*_):\n    {body}\n"
    (clone / "scripts" / "record").touch()
    (clone / "scripts" / "tooling" / "record.py").write_text(text, encoding="utf-8")
    commit(clone)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("sys.exit('record: nothing was written: no sandbox')", "nothing was written: no sandbox"),
        ("raise KeyError('company')", "KeyError: 'company'"),
        ("sys.exit('::add-mask::\\x1b[2J')", r": :add-mask::\x1b[2J"),
    ],
)
def test_what_cannot_be_recorded_is_a_question_and_costs_nothing_else(
    clone: Path,
    tmp_path: Path,
    unchanged: list[str],
    capsys: pytest.CaptureFixture[str],
    body: str,
    told: str,
) -> None:
    replace_record(clone, body)
    report = tmp_path / "report.json"
    assert bump.main(clone, [*unchanged, "--report", str(report)]) == bump.EXIT_DECIDE
    printed = capsys.readouterr()
    assert f"tests/cassettes/{NEW} was not recorded: scripts/record failed: " in printed.out
    assert told in printed.out
    assert f"run scripts/record --revision {NEW}" in printed.out
    assert "Traceback" not in printed.out + printed.err
    assert [row["where"] for row in json.loads(report.read_bytes())] == ["cassettes"]
    assert check.check_spec(clone) == []


def test_what_cannot_be_generated_is_a_question_and_the_fragment_stays(
    clone: Path,
    unchanged: list[str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def surprised(*_: object) -> None:
        raise RuntimeError("no such thing\nat all")

    monkeypatch.setattr(codegen, "generate", surprised)
    assert bump.main(clone, unchanged) == bump.EXIT_DECIDE
    told = "generated/ and the cassettes were not written: no such thing at all; correct spec/"
    assert told in capsys.readouterr().out
    assert {line[3:] for line in status(clone).splitlines()} == {f"spec/{NEW}.yaml", "CHANGELOG.md"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_bump_leaves_the_tree_as_it_was(
    clone: Path, unchanged: list[str], number: signal.Signals
) -> None:
    replace_record(clone, f"os.kill(os.getppid(), {number.value}); time.sleep(30)")
    done = subprocess.run(
        [sys.executable, "-c", RUN, *unchanged],
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
    "name", [f"spec/{OLD}.yaml", "generated/stray.py", "CHANGELOG.md", "tests/cassettes/a.yaml"]
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


def test_what_an_earlier_bump_wrote_is_no_dirt_until_it_is_edited(
    clone: Path, unchanged: list[str]
) -> None:
    assert bump.main(clone, unchanged) == 0
    assert status(clone)
    with tree.all_or_nothing(clone):
        pass
    (clone / "spec" / f"{NEW}.yaml").write_text("edited", encoding="utf-8")
    with pytest.raises(TreeError, match=rf"{NEW}\.yaml"), tree.all_or_nothing(clone):
        pytest.fail("it should not start")


def test_what_only_caches_hold_is_left_alone(clone: Path) -> None:
    cache = clone / "overlay" / ".some_cache" / "entry"
    cache.parent.mkdir()
    cache.write_text("kept", encoding="utf-8")
    commit(clone)
    with tree.all_or_nothing(clone, also=["overlay"]):
        pass
    assert cache.exists()


# Retiring


@pytest.fixture
def two(clone: Path, unchanged: list[str]) -> Path:
    """A clone that keeps OLD and NEW."""
    assert bump.main(clone, unchanged) == 0
    commit(clone)
    return clone


def test_a_retired_revision_leaves_nothing_behind(
    two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cassette = two / "tests" / "cassettes" / OLD / "one_page.yaml"
    cassette.parent.mkdir(parents=True)
    cassette.write_text("{}", encoding="utf-8")
    commit(two)
    assert retire.main(two, [OLD]) == 0
    assert check.check_spec(two) == []
    changelog = (two / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## [Unreleased]\n\n### Revision {OLD}, retired\n\n`Client(" in changelog
    assert not (two / "spec" / f"{OLD}.yaml").exists()
    assert not cassette.parent.exists()
    assert not list((two / "generated").rglob("r2030_01*"))
    assert retire.main(two, [OLD]) == 1
    assert f"kept are {NEW}" in capsys.readouterr().err


def test_the_readme_and_the_examples_speak_of_what_is_left(two: Path) -> None:
    readme, example = two / "README.md", two / "overlay" / "example.py"
    remark = f"> **Revision {OLD} is retired.**\n> Do not use it.\n\n"
    pin = f'Client(revision="{OLD}")\n'
    exact = f"Client(revision={exported_name(OLD)})\n"
    rest = f"\nRevision {OLD} came first.\n"
    readme.write_text(f"# Title\n\n{remark}{pin}{exact}{rest}", encoding="utf-8")
    example.write_text(f'"""{pin}"""\nFIRST = "{OLD}"\n', encoding="utf-8")
    commit(two)
    assert retire.main(two, [OLD]) == 0
    now = f'Client(revision="{NEW}")\n'
    now_exact = f"Client(revision={exported_name(NEW)})\n"
    assert readme.read_text(encoding="utf-8") == f"# Title\n\n{now}{now_exact}{rest}"
    assert example.read_text(encoding="utf-8") == f'"""{now}"""\nFIRST = "{OLD}"\n'


def test_the_newest_revision_cannot_be_retired_since_services_follow_it(
    two: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert retire.main(two, [NEW]) == 1
    told = capsys.readouterr().err
    assert f"{NEW} is the newest revision" in told
    assert f"fall back to {OLD}" in told
    assert "The tree is as it was." in told
    assert status(two) == ""


def test_the_last_revision_cannot_be_retired(clone: Path) -> None:
    with pytest.raises(BumpError, match="only revision"):
        retire.retire(clone, OLD)


@pytest.mark.parametrize("asked", ["-h", "--help"])
def test_retire_tells_how_it_is_used(
    clone: Path, asked: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        retire.main(clone, [asked])
    assert caught.value.code == 0
    assert "scripts/retire" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [[], [OLD, NEW], ["--force"]])
def test_retire_takes_one_revision(clone: Path, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        retire.main(clone, arguments)
    assert caught.value.code == 2


# Checking


def test_check_tells_differences_with_exit_code_1(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edited = upstream(tmp_path, scope_comes, revision=OLD)
    assert check.main(clone, ["--upstream", edited]) == 1
    assert "profiles:read" in capsys.readouterr().out
    assert check.main(clone, ["--upstream", upstream(tmp_path, revision=OLD)]) == 0
    assert check.main(clone, ["--upstream", upstream(tmp_path, revision=NEWER)]) == 2


def test_check_says_first_that_a_document_is_of_another_revision(
    clone: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def attributes_are_promised(document: Document) -> None:
        document["components"]["schemas"]["JobAttributes"]["required"] = ["status", "total_count"]

    # Two declarations that the later document does without.
    first = upstream(tmp_path, attributes_are_promised, revision=OLD)
    assert bump.main(clone, [OLD, "--from", OLD, "--upstream-new", first]) == 0
    later = upstream(tmp_path, scope_comes, revision=NEWER)
    capsys.readouterr()
    assert check.main(clone, ["--upstream", later, "--revision", OLD]) == 1
    said, *found, last = capsys.readouterr().out.splitlines()
    assert said == f"{later} says it is revision {NEWER}, not {OLD}"
    assert [line.split()[0] for line in found] == ["service", "compatible", "compatible"]
    assert last == f"unneeded    2 entries of x-deviations, which were made for {OLD}"
    # The same findings of a document of this revision are told one by one.
    edited = upstream(tmp_path, scope_comes, revision=OLD)
    assert check.main(clone, ["--upstream", edited]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[:3] == found
    assert [line.split()[0] for line in told[3:]] == ["unneeded", "unneeded"]
