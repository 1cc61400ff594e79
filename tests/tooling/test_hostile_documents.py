"""A document is data: none of its text runs, names a file, or reaches a terminal as it is."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tooling import bump, check, fragment, upstream
from tooling.carry import carry
from tooling.fragment import FragmentError
from tooling.round_trip import RoundTrip
from tooling.schema import DocumentError
from tooling.sites import operation_in, remove_unused_components

ROOT = Path(__file__).resolve().parents[2]
NEWEST = fragment.fragments(ROOT / "spec")[-1]
NEW = "2099-01-15"
Document = dict[str, Any]

MARK = "__import__('pathlib').Path('mark').touch()"
SEEN = (
    f"{MARK}",
    f"""'"\\'\\"'''\"\"\" + {MARK} + \"\"\"'''""",
    "{{ 7 * 7 }}{% for x in y %}#}{#${HOME}`id`$(touch mark)",
    "../../../mark",
    "/../mark.yaml",
    "::add-mask::x ##[add-mask]x",
    "!!python/object/apply:os.system ['touch mark']",
    "*a &b : - # ' ? | > %",
)
UNSEEN = (
    f"a\n{MARK}\n",
    "\r\n::add-mask::x\n##[error]x",
    "\x1b[2J\x1b]0;title\x07\x08\x00",
    "\u202egnp.exe\u2066\u200b\ufeff",
    "\x85\u2028\u2029\x7f",
)


def small_fragment() -> str:
    """The newest fragment with little in it, since each case reads it several times."""
    small = RoundTrip.of(NEWEST.file.read_text(encoding="utf-8"))
    del small.data["x-deviations"]
    for status in ("4XX", "5XX"):
        del operation_in(small.data)["responses"][status]
    schemas = small.data["components"]["schemas"]
    del schemas["JobPage"]["properties"]["meta"]
    for name in ("relationships", "links"):
        del schemas["Job"]["properties"][name]
    for name in list(schemas["JobAttributes"]["properties"])[2:]:
        del schemas["JobAttributes"]["properties"][name]
    remove_unused_components(small.data, ("JobField",))
    return small.text


TEXT = small_fragment()


def hostile_base() -> Document:
    """The same as the owner's document, with more of what can be said in one."""
    document: Document = YAML(typ="safe").load(TEXT)
    document["info"]["version"] = NEW
    operation = next(iter(document["paths"].values()))["get"]
    operation |= {"x-klaviyo-pre-release": "beta", "x-klaviyo-operation-aliases": ["other"]}
    operation["parameters"] += [
        {
            "name": "sort",
            "in": "query",
            "description": "Words.",
            "style": "form",
            "schema": {"type": "string", "enum": ["a", "b"], "default": "a", "title": "T"},
        },
        {
            "name": "code",
            "in": "query",
            "schema": {"type": "string", "pattern": "^a", "format": "x"},
        },
    ]
    operation["x-klaviyo-filters"]["id"] = {"operators": {"multi": ["any"]}, "value": {"type": "s"}}
    operation["x-klaviyo-ratelimit"]["daily"] = "9/d"
    operation["responses"]["202"] = {
        "description": "Later",
        "headers": {"X-Later": {"schema": {"type": "string"}}},
        "content": {"application/json": {"schema": {"type": "object", "title": "Later"}}},
    }
    document["components"]["schemas"]["JobAttributes"]["properties"]["more"] = {
        "type": "object",
        "title": "More",
        "description": "Words.",
        "required": ["kind"],
        "properties": {
            "kind": {"type": "string", "enum": ["x", "y"], "example": "x", "pattern": ".*"},
            "when": {"type": "string", "format": "date-time", "default": "now"},
            "many": {"type": "array", "items": {"type": "string", "const": "one"}},
        },
        "additionalProperties": {"type": "string"},
    }
    return document


BASE = hostile_base()


def strings(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], bool]]:
    """The way to every string, and whether it is the key there."""
    for step, child in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(step, str):
            yield (*path, step), True
        if isinstance(child, str):
            yield (*path, step), False
        elif isinstance(child, dict | list):
            yield from strings(child, (*path, step))


PLACES = list(strings(BASE))


def spoiled(place: tuple[tuple[Any, ...], bool], text: str, *, whole: bool) -> Document:
    """The document with `text` instead of one string, or behind it."""
    (*way, last), is_key = place
    document = copy.deepcopy(BASE)
    parent = document
    for step in way:
        parent = parent[step]
    if is_key:
        value = parent.pop(last)
        parent[text if whole else last + text] = value
    else:
        parent[last] = text if whole else parent[last] + text
    return document


def files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*")}


@pytest.fixture
def place_to_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "a" / "b" / "work"
    (folder / "spec").mkdir(parents=True)
    (folder / "spec" / NEWEST.file.name).write_text(TEXT, encoding="utf-8")
    monkeypatch.chdir(folder)
    return tmp_path


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("texts", [SEEN, UNSEEN], ids=["seen", "unseen"])
def test_every_string_in_turn_is_carried_as_data_or_refused_in_a_line(
    place_to_work: Path, capsys: pytest.CaptureFixture[str], texts: tuple[str, ...], part: int
) -> None:
    given, made = Path("document.json"), Path(f"spec/{NEW}.yaml")
    carried = 0
    for number, place in enumerate(PLACES[part::4]):
        text = texts[number % len(texts)]
        document = spoiled(place, text, whole=number % 2 == 0)
        given.write_text(json.dumps(document), encoding="utf-8")
        try:
            loaded = upstream.load(str(given))
            with upstream.whatever_its_shape(str(given)):
                written = carry(TEXT, old=NEWEST.date, new=NEW, upstream=loaded)
                made.write_text(written, encoding="utf-8")
                bump.check_fragment(made, loaded)
        except (bump.BumpError, DocumentError, FragmentError) as error:
            assert "\n" not in str(error), place
        else:
            carried += 1
            assert fragment.load(made)["info"]["version"] == NEW
            assert all(line.isprintable() for line in written.split("\n")), place
        done = check.main(Path.cwd(), ["--upstream", str(given), "--revision", NEWEST.date])
        told = capsys.readouterr()
        assert done in (0, 1, 2)
        for line in (told.out + told.err).split("\n"):
            assert line.isprintable(), place
            assert not line.lstrip().startswith("::"), place
            assert "##[" not in line, place
        made.unlink(missing_ok=True)
    assert carried > 20
    here = "a/b/work"
    assert files(place_to_work) == {
        "a",
        "a/b",
        here,
        f"{here}/document.json",
        f"{here}/spec",
        f"{here}/spec/{NEWEST.date}.yaml",
    }
