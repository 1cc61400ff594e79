"""Whatever stands in a fragment stays data: it makes a valid tree, or is refused in one line."""

from __future__ import annotations

import copy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tooling import codegen
from tooling.client_part import client_part
from tooling.codegen import GenerationError
from tooling.fragment import FragmentError, fragments, from_document

SPEC = Path(__file__).resolve().parents[2] / "spec"
NEWEST = fragments(SPEC)[-1]
HONEST = codegen.render_fragments(SPEC, [NEWEST]).keys()
MARK = "left_a_mark"

# Each is put behind every string of the fragment in turn, and in its place.
ATTACKS = {
    "code": f"\"\"\"\\'; __import__('pathlib').Path('{MARK}').touch(); '''\"\\",
    "expression": f"x if __import__('pathlib').Path('{MARK}').touch() else y",
    "template": "{{ 7 * 7 }}{% include 'types.py.jinja' %}{# #}${HOME}%s{0.__class__}",
    "path": f"/../../../{MARK}",
    "name": "__import__",
    "lines": f"a\nimport pathlib; pathlib.Path('{MARK}').touch()\n::add-mask::b\r\n",
    "control": "\x1b[31m\x07\x00\x85\u2028\ud800",
    "bidi": "\u202e\u2066\u200b",
}

Change = Callable[[], Callable[[], None]]
"""Makes a change, and gives what takes it back."""


def changes(document: Any, attack: str) -> Iterator[tuple[str, Change]]:
    """A change for every string in the document, keys too, and the kind of change."""
    if isinstance(document, dict):
        for key, value in list(document.items()):
            yield "key", lambda key=key: renamed(document, key, f"{key}{attack}")
            yield from in_place(document, key, value, attack)
    elif isinstance(document, list):
        for number, value in enumerate(document):
            yield from in_place(document, number, value, attack)


def in_place(holder: Any, key: Any, value: Any, attack: str) -> Iterator[tuple[str, Change]]:
    if isinstance(value, str):
        yield "behind", lambda: put(holder, key, f"{value}{attack}")
        yield "instead", lambda: put(holder, key, attack)
    else:
        yield from changes(value, attack)


def put(holder: Any, key: Any, value: Any) -> Callable[[], None]:
    before = holder[key]
    holder[key] = value
    return lambda: holder.__setitem__(key, before)


def renamed(holder: dict[Any, Any], key: Any, name: str) -> Callable[[], None]:
    before = dict(holder)

    def again(content: dict[Any, Any]) -> None:
        holder.clear()
        holder.update(content)

    again({name if one == key else one: value for one, value in before.items()})
    return lambda: again(before)


def refusal(document: dict[str, Any]) -> str | None:
    """Why the document is refused before anything is generated."""
    try:
        client_part(from_document(NEWEST.file, document))
    except FragmentError as error:
        return str(error)
    return None


def rendered(document: dict[str, Any]) -> dict[str, bytes] | str:
    """The tree, or why there is none."""
    try:
        return codegen.render_fragments(SPEC, [from_document(NEWEST.file, document)])
    except (FragmentError, GenerationError) as error:
        return str(error)


def works(tree: dict[str, bytes], folder: Path) -> None:
    """The tree has the files of an honest one, can be imported, and leaves no mark."""
    assert tree.keys() == HONEST
    for name, content in tree.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    code = (
        "import msgspec; from klaviyo_variant_jobs_api import changes, client\n"
        "from klaviyo_variant_jobs_api.registry import NEWEST, AnyJob\n"
        "loaded = NEWEST.load(); msgspec.json.Decoder(loaded.page_model); loaded.get_kwargs()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert not list(folder.rglob(f"*{MARK}*"))


def all_of(document: dict[str, Any], taken: list[Change], folder: Path) -> list[str]:
    """Generate with all these changes at once; with half of them where that is refused.

    Gives why single changes were refused.
    """
    undo = [change() for change in taken]
    tree = rendered(document)
    for back in reversed(undo):
        back()
    if isinstance(tree, dict):
        works(tree, folder)
        return []
    assert tree.isprintable()
    if len(taken) == 1:
        return [tree]
    late = all_of(document, taken[: len(taken) // 2], folder)
    # What is known to be refused is refused before anything is generated; the rest is rare.
    assert len(late) < 4, late
    return late + all_of(document, taken[len(taken) // 2 :], folder)


@pytest.mark.parametrize("attack", ATTACKS.values(), ids=ATTACKS)
def test_every_string_may_be_an_attack(
    attack: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    document = copy.deepcopy(NEWEST.document)
    accepted: dict[str, list[Change]] = {}
    refused = 0
    for kind, change in changes(document, attack):
        back = change()
        why = refusal(document)
        back()
        if why is None:
            accepted.setdefault(kind, []).append(change)
        else:
            refused += 1
            assert why.isprintable()
            assert len(why) <= 400
    assert document == NEWEST.document
    assert refused
    # Two changes of one string exclude each other.
    for taken in accepted.values():
        assert len(all_of(document, taken, tmp_path)) < len(taken)
    assert not list(tmp_path.rglob(f"*{MARK}*"))
