"""A checkpoint is a value, and its text form brings back exactly that value or is refused."""

from __future__ import annotations

import base64
import json
import pickle
import re
import zlib
from typing import Any

import attrs
import pytest
from hypothesis import example, given, strategies as st

from klaviyo_variant_jobs import Checkpoint, CheckpointError, KlaviyoError
from klaviyo_variant_jobs.checkpoint import LONGEST_CURSOR

# Half surrogate pairs too: so the bytes of a cursor that are no UTF-8 are kept.
texts = st.text(st.characters(), max_size=40)
cursors = st.binary(max_size=40).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
optional_texts = st.none() | texts


@st.composite
def checkpoints(draw: st.DrawFn) -> Checkpoint:
    status = tuple(draw(st.lists(texts, max_size=4)))
    return Checkpoint(
        revision=draw(texts),
        status=status,
        fields=tuple(draw(st.lists(texts, max_size=4))),
        status_index=draw(st.integers(0, max(0, len(status) - 1))),
        cursor=draw(st.none() | cursors),
        offset=draw(st.integers(0, 10**6)),
        last_job_id=draw(optional_texts),
        extra_query=tuple(draw(st.lists(st.tuples(texts, texts), max_size=2))),
    )


PLACE = Checkpoint(
    revision="2026-07-15",
    status=("queued", "processing"),
    fields=("id", "status"),
    status_index=1,
    cursor="WyIyMDI2Il0=",
    offset=37,
    last_job_id="01M1PADXEW6S9KKAEWJYE4HS2Y",
)


def packed(values: object) -> str:
    """A text with a right checksum around any content."""
    data = json.dumps(values, separators=(",", ":")).encode()
    raw = zlib.crc32(data).to_bytes(4, "big") + data
    return "kvj1." + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


@given(checkpoints())
def test_the_text_form_brings_back_the_same_value(checkpoint: Checkpoint) -> None:
    assert Checkpoint.parse(str(checkpoint)) == checkpoint


@given(checkpoints())
def test_the_text_form_is_printable_and_safe_in_a_url_and_on_a_command_line(
    checkpoint: Checkpoint,
) -> None:
    assert re.fullmatch(r"[A-Za-z0-9._-]+", str(checkpoint))


def test_a_text_without_more_parameters_is_what_it_was_before_there_were_any() -> None:
    values = ["2026-07-15", ["queued", "processing"], ["id", "status"], 1, "WyIyMDI2Il0=", 37]
    assert str(PLACE) == packed([*values, "01M1PADXEW6S9KKAEWJYE4HS2Y"])


def test_the_text_form_is_short() -> None:
    assert len(str(PLACE)) < 200


def test_white_space_around_the_text_does_not_matter() -> None:
    assert Checkpoint.parse(f"\n  {PLACE}\t\r\n") == PLACE


@given(st.text() | st.text("kvj1.-_=ABCabc019 ").map("kvj1.".__add__))
@example("")
@example("kvj1.")
@example("kvj1.AAAA")
@example("kvj2." + str(PLACE)[5:])
def test_any_other_text_is_refused_with_the_error_of_the_family(text: str) -> None:
    with pytest.raises(CheckpointError):
        Checkpoint.parse(text)


@given(st.data())
def test_a_text_that_was_cut_or_altered_is_refused(data: st.DataObject) -> None:
    text = str(PLACE)
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from(["", "A", "b", "=", "/", "+", " ", "\n", "é"]))
    altered = text[:at] + other + text[at + 1 :]
    if altered.strip() == text:
        return
    with pytest.raises(CheckpointError):
        Checkpoint.parse(altered)


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        {},
        "text",
        [1, [], [], 0, None, 0, None],
        ["2026-07-15", ["queued"], [], 1, None, 0, None],
        ["2026-07-15", ["queued"], [], -1, None, 0, None],
        ["2026-07-15", [], [], True, None, 0, None],
        ["2026-07-15", [], [], 0, None, True, None],
        ["2026-07-15", [], [], 0, None, -1, None],
        ["2026-07-15", [], [], 0, None, 1.0, None],
        ["2026-07-15", [], [], 0, 7, 0, None],
        ["2026-07-15", [], [], 0, None, 0, ["J1"]],
        ["2026-07-15", [3], [], 0, None, 0, None],
        ["2026-07-15", 3, [], 0, None, 0, None],
        ["2026-07-15", [], [None], 0, None, 0, None],
        ["2026-07-15", "queued", [], 0, None, 0, None],
        ["2026-07-15", [], [], 0, None, 0],
        ["2026-07-15", [], [], 0, None, 0, None, [], 1],
        ["2026-07-15", [], [], 0, None, 0, None, 5],
        ["2026-07-15", [], [], 0, None, 0, None, [["sort"]]],
        ["2026-07-15", [], [], 0, None, 0, None, [["sort", 1]]],
        ["2026-07-15", [], [], 0, None, 0, None, [[["x"], "y"]]],
        ["2026-07-15"],
    ],
)
def test_a_text_with_a_right_checksum_around_nonsense_is_refused(values: Any) -> None:
    with pytest.raises(CheckpointError):
        Checkpoint.parse(packed(values))


def test_a_text_of_deeply_nested_content_is_refused() -> None:
    data = b"[" * 100_000
    raw = zlib.crc32(data).to_bytes(4, "big") + data
    with pytest.raises(CheckpointError):
        Checkpoint.parse("kvj1." + base64.urlsafe_b64encode(raw).decode())


@pytest.mark.parametrize(
    "forged",
    [
        packed(["2" * 2**20, [], [], 0, None, 0, None]),
        packed(["2026-07-15", ["s" * 2**20], [], 0, None, 0, None]),
        packed(["2026-07-15", [], ["f"] * 2**18, 0, None, 0, None]),
        packed(["2026-07-15", [], [], 0, None, 0, "j" * 2**20]),
        packed(["2026-07-15", [], [], 0, None, 0, None])[:-1] + "A" * 2**20,
        "kvj1." + "A" * 2**24,
        "x" * 2**24,
    ],
    ids=range(7),
)
def test_a_forged_checkpoint_of_a_megabyte_is_refused_in_a_short_message(forged: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        Checkpoint.parse(forged)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("cursor", ["c" * (LONGEST_CURSOR + 1), "half a pair \ud800"])
def test_the_cursor_of_a_checkpoint_is_checked_like_one_from_a_link(cursor: str) -> None:
    with pytest.raises(CheckpointError):
        Checkpoint.parse(str(attrs.evolve(PLACE, cursor=cursor)))


def test_the_longest_cursor_that_a_link_may_have_fits_a_checkpoint() -> None:
    place = attrs.evolve(PLACE, cursor="c" * LONGEST_CURSOR)
    assert Checkpoint.parse(str(place)) == place


def test_only_text_is_parsed() -> None:
    with pytest.raises(CheckpointError):
        Checkpoint.parse(b"kvj1.AAAA")  # type: ignore[arg-type]


def test_the_error_says_what_a_checkpoint_looks_like_and_is_a_value_error() -> None:
    with pytest.raises(ValueError, match=r"cut while it was copied.*'kvj1\.'") as caught:
        Checkpoint.parse("kvj1.half")
    assert isinstance(caught.value, KlaviyoError)
    assert caught.value.checkpoint is None


def test_a_checkpoint_is_a_frozen_hashable_value() -> None:
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        PLACE.offset = 1  # type: ignore[misc]
    assert hash(PLACE) == hash(Checkpoint.parse(str(PLACE)))
    assert pickle.loads(pickle.dumps(PLACE)) == PLACE
    assert not hasattr(PLACE, "__dict__")
