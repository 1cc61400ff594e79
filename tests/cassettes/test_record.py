"""The recorder: the same bytes each time, nothing secret, and the real API where it can give it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from vcr.serializers import yamlserializer

from klaviyo_variant_jobs.clock import SYSTEM_CLOCK
from klaviyo_variant_jobs.sandbox import Fault, Sandbox
from klaviyo_variant_jobs_api.registry import NEWEST, REVISIONS, Revision
from tooling import record
from tooling.record import RecordError, Source, record_best, stale, write
from tooling.scenarios import SCENARIOS, Scenario

pytestmark = pytest.mark.block_network(allowed_hosts=["127.0.0.1"])

FOLDER = Path(__file__).parent
KEY = "pk_5ecre7"
BY_NAME = {scenario.name: scenario for scenario in SCENARIOS}


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KLAVIYO_API_KEY", raising=False)


def _source(base_url: str, api_key: str = KEY) -> Source:
    return Source(name="https://real", base_url=base_url, api_key=api_key, clock=SYSTEM_CLOCK)


@pytest.fixture
def real() -> Iterator[tuple[Sandbox, Source]]:
    """What stands for the real API: an account with many jobs."""
    sandbox = Sandbox(jobs=50, jobs_per_page=10, api_keys={KEY: "account"})
    with sandbox.serve() as server:
        yield sandbox, _source(server.base_url)


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.date)
def test_the_sandbox_still_records_the_committed_bytes(
    revision: Revision[Any], tmp_path: Path
) -> None:
    write(tmp_path, [revision], None)
    for file in (tmp_path / revision.date).iterdir():
        committed = (FOLDER / revision.date / file.name).read_text(encoding="utf-8")
        if yamlserializer.deserialize(committed)["recorded_from"] == record.SANDBOX:
            assert file.read_text(encoding="utf-8") == committed, "run scripts/record"


def test_recording_again_changes_nothing(tmp_path: Path) -> None:
    assert write(tmp_path, [NEWEST], None)
    assert write(tmp_path, [NEWEST], None) == {}


def test_recording_removes_what_is_stale_and_leaves_the_rest(tmp_path: Path) -> None:
    unknown = tmp_path / "1999-12-31"
    shutil.copytree(FOLDER / NEWEST.date, unknown)
    old = tmp_path / NEWEST.date / "no_longer_a_scenario.yaml"
    old.parent.mkdir()
    old.touch()
    (tmp_path / "test_cassettes.py").touch()

    assert stale(tmp_path) == [unknown, old]
    changed = write(tmp_path, [NEWEST], None)

    assert [file for file, source in changed.items() if source == "removed"] == [unknown, old]
    assert {file.name for file in tmp_path.iterdir()} == {NEWEST.date, "test_cassettes.py"}
    assert stale(tmp_path) == []


def test_what_the_real_api_can_give_comes_from_there(real: tuple[Sandbox, Source]) -> None:
    sandbox, source = real
    recording = record_best(BY_NAME["several_pages"], NEWEST, source)
    assert recording.source == source.name
    ids = [job["id"] for answer in recording.answers for job in answer.jobs]
    assert ids == [job.id for job in sandbox.jobs[:30]]
    assert "recorded_from: https://real\n" in recording.text
    assert "https://a.klaviyo.com/api/" in recording.text
    assert source.base_url not in recording.text


@pytest.mark.parametrize("name", ["filter", "sparse_fields", "400", "401", "404"])
def test_an_account_of_any_size_gives(name: str, real: tuple[Sandbox, Source]) -> None:
    assert record_best(BY_NAME[name], NEWEST, real[1]).source == real[1].name


@pytest.mark.parametrize("name", ["one_page", "empty_list", "410"])
def test_what_the_account_does_not_have_comes_from_the_sandbox(
    name: str, real: tuple[Sandbox, Source]
) -> None:
    assert record_best(BY_NAME[name], NEWEST, real[1]).source == record.SANDBOX


@pytest.mark.parametrize("name", ["429_then_200", "503_then_200", "403_html", "unknown_status"])
def test_the_real_api_is_not_asked_for_what_it_cannot_be_made_to_give(
    name: str, real: tuple[Sandbox, Source]
) -> None:
    sandbox, source = real
    assert record_best(BY_NAME[name], NEWEST, source).source == record.SANDBOX
    assert sandbox.requests == []


def test_a_key_that_the_real_api_refuses_stops_the_recording(
    real: tuple[Sandbox, Source],
) -> None:
    wrong = attrs.evolve(real[1], api_key="pk_forgotten")
    with pytest.raises(RecordError, match="check KLAVIYO_API_KEY") as caught:
        record_best(BY_NAME["one_page"], NEWEST, wrong)
    assert "pk_forgotten" not in str(caught.value)


def test_no_key_and_no_cookie_is_recorded(real: tuple[Sandbox, Source]) -> None:
    sandbox, source = real
    sandbox.fail_next(Fault(status=404, headers={"Set-Cookie": "__cf_bm=c00kie", "cf-ray": "r4y"}))
    text = record.record(BY_NAME["404"], NEWEST, source).text.lower()
    for word in (KEY, "pk_", "authorization", "cookie", "c00kie", "r4y", "user-agent"):
        assert word not in text


def test_an_answer_that_quotes_the_key_is_not_recorded(real: tuple[Sandbox, Source]) -> None:
    sandbox, source = real
    sandbox.fail_next(Fault(status=404, body=f'{{"message": "{KEY} is unknown here"}}'))
    with pytest.raises(RecordError, match="quotes the API key") as caught:
        record.record(BY_NAME["404"], NEWEST, source)
    assert KEY not in str(caught.value)


def test_a_sandbox_that_does_not_show_the_scenario_stops_the_recording() -> None:
    wrong: Scenario = attrs.evolve(BY_NAME["400"], sandbox=BY_NAME["401"].sandbox)
    with pytest.raises(RecordError, match="the sandbox answered 401"):
        record_best(wrong, NEWEST, None)


def test_the_command_says_what_changed_and_where_it_comes_from(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert record.main(tmp_path, ["--revision", NEWEST.date]) == 0
    told = capsys.readouterr().out
    assert f"tests/cassettes/{NEWEST.date}/one_page.yaml: sandbox\n" in told
    assert [file.name for file in (tmp_path / "tests" / "cassettes").iterdir()] == [NEWEST.date]


def test_the_command_names_the_revisions_it_knows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        record.main(tmp_path, ["--revision", "1999-12-31"])
    assert caught.value.code == 2
    assert NEWEST.date in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_an_api_that_cannot_be_reached_leaves_everything_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("KLAVIYO_API_KEY", KEY)
    with Sandbox().serve() as server:
        gone = _source(server.base_url)
    monkeypatch.setattr(record, "real_api", lambda _: gone)
    monkeypatch.setattr(record, "_LIVE_RETRY", attrs.evolve(record._LIVE_RETRY, max_attempts=1))

    assert record.main(tmp_path, []) == 1
    told = capsys.readouterr().err
    assert "nothing was written" in told
    assert "Without KLAVIYO_API_KEY" in told
    assert KEY not in told
    assert list(tmp_path.iterdir()) == []
