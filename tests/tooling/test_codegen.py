"""generated/ is what spec/ makes, and whatever is not gets named."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tooling import codegen, lock
from tooling.codegen import GenerationError
from tooling.fragment import FragmentError, fragments

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path("generated") / codegen.PACKAGE
KEPT = fragments(ROOT / "spec")
NEWEST = KEPT[-1]
LATER = "2099-01-15"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of spec/ and generated/ to spoil."""
    for folder in ("spec", "generated"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    return tmp_path


def newest_of(project: Path) -> Path:
    return project / "spec" / NEWEST.file.name


def check(project: Path) -> list[str]:
    return codegen.check(project / "spec", project / "generated")


def generate(project: Path) -> list[str]:
    return codegen.generate(project / "spec", project / "generated")


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text(encoding="utf-8")
    assert old in text
    file.write_text(text.replace(old, new), encoding="utf-8")


def test_the_committed_tree_is_what_spec_makes() -> None:
    assert codegen.check(ROOT / "spec", ROOT / "generated") == []


def test_a_hand_edit_a_stale_file_and_a_missing_file_are_named_and_mended(project: Path) -> None:
    edit(project / PACKAGE / "errors.py", "begins", "starts")
    extra = PACKAGE / KEPT[0].package / "extra"
    (project / extra).mkdir()
    (project / extra / "old.py").touch()
    (project / PACKAGE / "py.typed").unlink()
    assert check(project) == [
        f"{PACKAGE}/errors.py differs from what spec/ makes",
        f"{PACKAGE}/py.typed is missing",
        f"{extra}/old.py is stale: nothing in spec/ makes it",
    ]
    assert len(generate(project)) == 3
    assert not (project / extra).exists()
    assert check(project) == []


def test_a_changed_template_is_told_by_the_tree_and_by_the_lock(project: Path) -> None:
    edit(project / "spec/codegen/templates/errors.py.jinja", "begins", "starts")
    assert check(project) == [
        f"{PACKAGE}/errors.py differs from what spec/ makes",
        "spec/lock.json is out of date: generated",
        "spec/lock.json is out of date: templates errors.py.jinja",
    ]


def test_a_changed_comment_in_a_fragment_is_told_by_the_lock_alone(project: Path) -> None:
    edit(newest_of(project), "\nopenapi:", "\n# A remark.\nopenapi:")
    assert check(project) == [f"spec/lock.json is out of date: fragments {NEWEST.file.name}"]
    assert generate(project) == []
    assert check(project) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (None, "is missing"),
        ("{", "is no JSON"),
        ("[]", "is no JSON object"),
    ],
)
def test_a_lock_that_cannot_be_read_is_told(project: Path, text: str | None, told: str) -> None:
    file = project / "spec" / "lock.json"
    file.unlink() if text is None else file.write_text(text, encoding="utf-8")
    assert check(project) == [f"spec/lock.json {told}"]


def test_another_formatter_than_the_recorded_one_is_told(project: Path) -> None:
    recorded = json.loads((project / "spec/lock.json").read_bytes())
    current = recorded["tools"]["ruff"]
    recorded["tools"]["ruff"] = "0.0.1"
    (project / "spec/lock.json").write_text(lock.text(recorded), encoding="utf-8")
    told = f"spec/lock.json is out of date: it was made with ruff 0.0.1, this is {current}"
    assert check(project) == [told]


def add_later_fragment(project: Path) -> Path:
    later = Path(shutil.copy(newest_of(project), project / "spec" / f"{LATER}.yaml"))
    edit(later, NEWEST.date, LATER)
    return later


def test_a_new_fragment_needs_no_other_edit(project: Path) -> None:
    edit(add_later_fragment(project), f"burst: {NEWEST.burst}/s", "burst: 8/s")
    generate(project)
    code = (
        "from klaviyo_variant_jobs_api import registry\n"
        "dates = [revision.date for revision in registry.REVISIONS]\n"
        "code = registry.NEWEST.load()\n"
        "print(dates, registry.NewestDate, registry.NEWEST.burst, code.job_model.__module__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project / "generated",
        capture_output=True,
        text=True,
        check=True,
    )
    dates = [one.date for one in fragments(project / "spec")]
    assert done.stdout.strip() == (
        f"{dates} typing.Literal['{LATER}'] 8 klaviyo_variant_jobs_api.r2099_01_15.models"
    )


NEW_PROPERTIES = """
        priority: {type: [string, "null"], enum: [low, high, null]}
        kinds: {type: [array, "null"], items: {type: string, enum: [a, b]}}
        field: {type: [number, "null"]}
        uid: {type: [string, "null"], format: uuid}
        times: {type: [array, "null"], items: {type: string, format: date-time}}
        nested: {type: object, properties: {a: {type: [integer, "null"]}}}
        anything: {}
        created_at:
"""


def test_properties_of_other_kinds_decode_as_tolerantly_as_those_we_know(project: Path) -> None:
    edit(newest_of(project), "\n        created_at:\n", NEW_PROPERTIES)
    generate(project)
    body = (
        '{"data": [{"id": "01M", "attributes": {"priority": "urgent", "kinds": ["z"], "field": 1,'
        ' "uid": "u",'
        ' "times": ["2026-09-04T13:41:16Z"], "anything": [null]}}]}'
    )
    code = (
        "import sys, msgspec; from klaviyo_variant_jobs_api.registry import NEWEST\n"
        "page = msgspec.json.decode(sys.argv[1], type=NEWEST.load().page_model)\n"
        "one = page.data[0].attributes\n"
        "print(one.priority, *one.kinds, one.field, one.uid, one.times[0].year, one.nested)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, body],
        cwd=project / "generated",
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "urgent z 1.0 u 2026 None"


NEW_PARAMETERS = """      parameters:
        - {name: sort, in: query, schema: {type: string, enum: [created_at, -created_at]}}
        - {name: "page[size]", in: query, schema: {type: integer, default: 20}}
        - name: fields[catalog-variant]
          in: query
          explode: false
          schema: {type: array, items: {type: string, enum: [sku, url]}}
        - {name: include, in: query, schema: {type: array, items: {type: string}}}
        - {name: X-Trace, in: header, schema: {type: string}}
"""


def test_new_parameters_can_be_sent_by_the_revision_that_has_them(project: Path) -> None:
    later = add_later_fragment(project)
    text = later.read_text(encoding="utf-8")
    head, _, rest = text.partition("      parameters: # described")
    rest = rest.split("\n", 1)[1]
    first, mark, others = rest.partition("        - name: filter\n")
    later.write_text(
        head + NEW_PARAMETERS.replace("parameters:\n", f"parameters:\n{first}", 1) + mark + others,
        encoding="utf-8",
    )
    generate(project)
    code = """
from klaviyo_variant_jobs_api.registry import NEWEST, REVISIONS
print(NEWEST.query)
print(REVISIONS[0].query)
get_kwargs = NEWEST.load().get_kwargs
made = get_kwargs(sort="-created_at", page_size=50, fields_catalog_variant=["sku", "url"])
print(made["params"], made["headers"])
made = get_kwargs(include=("a", "b"), x_trace="t", revision="r")
print(made["params"], made["headers"])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=project / "generated",
        capture_output=True,
        text=True,
        check=True,
    )
    old = "fields[catalog-variant-bulk-create-job]", "filter", "page[cursor]"
    new = "sort", "page[size]", "fields[catalog-variant]", "include"
    sent = {"sort": "-created_at", "page[size]": 50, "fields[catalog-variant]": "sku,url"}
    assert done.stdout.splitlines() == [
        str((old[0], *new, *old[1:])),
        str(old),
        f"{sent} {{'revision': '{LATER}'}}",
        "{'include': ['a', 'b']} {'X-Trace': 't', 'revision': 'r'}",
    ]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "klaviyo_variant_jobs_api"],
        cwd=project / "generated",
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    assert "sort: str | None = None" in (project / PACKAGE / "registry.py").read_text()


def test_a_fragment_that_is_gone_takes_its_package_along(project: Path) -> None:
    later = add_later_fragment(project)
    generate(project)
    assert (project / PACKAGE / "r2099_01_15").exists()
    later.unlink()
    generate(project)
    assert not (project / PACKAGE / "r2099_01_15").exists()
    assert check(project) == []


def test_every_module_says_where_it_comes_from_and_no_cache_is_left() -> None:
    tree = codegen.render(ROOT / "spec")
    assert {Path(name).suffix for name in tree} == {".py", ".typed"}
    for name, content in tree.items():
        if name.endswith(".py"):
            stamp = content.decode().split("\n", 1)[0]
            assert stamp.startswith("# Generated by scripts/regenerate from spec/")
            assert len(stamp) <= 100


def test_the_tree_does_not_depend_on_the_hash_seed() -> None:
    code = (
        "import sys; from pathlib import Path; from tooling import codegen, lock;"
        "print(lock.tree_digest(codegen.render(Path(sys.argv[1]))))"
    )
    digests = {
        subprocess.run(
            [sys.executable, "-c", code, str(ROOT / "spec")],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT / "scripts")},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    }
    assert digests == {lock.tree_digest(codegen.render(ROOT / "spec"))}


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (f'version: "{NEWEST.date}"', f'version: "{LATER}"', "file name and version must agree"),
        ("operationId: get_create", "operationId: get_bulk", "operationId must be"),
        (f"burst: {NEWEST.burst}/s", "burst: 75/m", "'75/m'; expected a form like 75/s"),
        ("x-klaviyo-ratelimit", "x-klaviyo-limits", "lacks 'x-klaviyo-ratelimit'"),
        ("        total_count:", "        total-count:", "JobAttributes.total-count cannot be"),
        (f"burst: {NEWEST.burst}/s", "burst: {}", "says {}; expected a form like 75/s"),
        (
            "      x-klaviyo-ratelimit:",
            "      x-klaviyo-ratelimit: 1/s\n      was:",
            "expected an object",
        ),
        ("openapi: 3.1.0", "openapi: [3.1.0", "is no YAML"),
        ("openapi: 3.1.0", "openapi: 2026-13-45", "is no YAML"),
        ("openapi: 3.1.0", "- 3\n---", "is no YAML"),
    ],
)
def test_a_fragment_the_registry_cannot_be_made_from_is_refused(
    project: Path, old: str, new: str, told: str
) -> None:
    edit(newest_of(project), old, new)
    with pytest.raises(FragmentError, match=NEWEST.file.name) as caught:
        check(project)
    assert told in str(caught.value)


def test_a_list_is_no_fragment(project: Path) -> None:
    newest_of(project).write_text("- 1\n", encoding="utf-8")
    with pytest.raises(FragmentError, match="is no mapping"):
        check(project)


def test_a_folder_without_fragments_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FragmentError, match="holds no fragment"):
        codegen.render(tmp_path)


def test_a_complaint_of_the_generator_fails_and_writes_nothing(project: Path) -> None:
    edit(newest_of(project), "type: integer\n", "type: integer\n          default: many\n")
    before = lock.make(project / "spec", {})
    with pytest.raises(GenerationError, match=NEWEST.file.name):
        generate(project)
    assert lock.make(project / "spec", {}) == before
    assert not codegen.check(ROOT / "spec", project / "generated")


def test_a_broken_template_is_told_by_name(project: Path) -> None:
    edit(project / "spec/codegen/templates/errors.py.jinja", "class", "{% if %}class")
    with pytest.raises(GenerationError, match="templates"):
        check(project)


def test_output_that_is_no_python_is_told(project: Path) -> None:
    edit(project / "spec/codegen/templates/errors.py.jinja", "class", "class class")
    with pytest.raises(GenerationError, match=r"errors\.py"):
        check(project)


def test_the_command_answers_with_its_exit_code(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert codegen.main(project, ["--check"]) == 0
    assert "byte for byte" in capsys.readouterr().out

    edit(project / PACKAGE / "types.py", "datetime", "date")
    assert codegen.main(project, ["--check"]) == 1
    told = capsys.readouterr()
    assert f"{PACKAGE}/types.py differs" in told.err
    assert "scripts/regenerate" in told.err

    assert codegen.main(project, []) == 0
    assert f"wrote {PACKAGE}/types.py" in capsys.readouterr().out

    edit(newest_of(project), f"burst: {NEWEST.burst}/s", "burst: many")
    assert codegen.main(project, []) == 1
    assert "nothing was written" in capsys.readouterr().err

    with pytest.raises(SystemExit) as caught:
        codegen.main(project, ["--force"])
    assert caught.value.code == 2
