"""The generated package sends by itself, without the overlay."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from importlib import import_module
from typing import TYPE_CHECKING

import httpx
import msgspec
import pytest

from klaviyo_variant_jobs_api.client import Client
from klaviyo_variant_jobs_api.errors import UnexpectedStatus
from klaviyo_variant_jobs_api.registry import NEWEST, REVISIONS, Revision

if TYPE_CHECKING:
    from klaviyo_variant_jobs_api.registry import AnyJob

new = import_module(f"{NEWEST.package}.api.catalogs.get_create_variants_jobs")
KEY = "Klaviyo-API-Key pk_very_secret"


def client(answer: Callable[[httpx.Request], httpx.Response]) -> Client:
    return Client(KEY, httpx_options={"transport": httpx.MockTransport(answer)})


def page(request: httpx.Request) -> httpx.Response:
    return httpx.Response(200, json={"data": [{"id": "01M"}]})


def test_a_page_comes_back_as_models() -> None:
    with client(page) as one:
        answer = new.sync_detailed(client=one)
    assert answer.status_code == 200
    assert [job.id for job in answer.parsed.data] == ["01M"]


def test_a_page_can_be_awaited() -> None:
    async def ids() -> list[str | None]:
        async with client(page) as one:
            answer = await new.asyncio_detailed(client=one)
        return [job.id for job in answer.parsed.data]

    assert asyncio.run(ids()) == ["01M"]


@pytest.mark.parametrize("revision", REVISIONS, ids=lambda revision: revision.date)
def test_the_request_is_the_documented_one(revision: Revision[AnyJob]) -> None:
    endpoint = import_module(f"{revision.package}.api.catalogs.get_create_variants_jobs")
    known = import_module(f"{revision.package}.models").JobField
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return page(request)

    with client(answer) as one:
        endpoint.sync_detailed(
            client=one, fields=[known.STATUS, "created_at"], page_cursor="a=b&c"
        )
    (request,) = sent
    assert request.headers["revision"] == revision.date
    assert request.headers["authorization"] == KEY
    assert request.url.path == revision.path
    assert dict(request.url.params) == {
        "fields[catalog-variant-bulk-create-job]": "status,created_at",
        "page[cursor]": "a=b&c",
    }


@pytest.mark.parametrize("status", [204, 302, 403, 429, 520])
def test_any_other_status_raises_and_keeps_what_came(status: int) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(status, headers={"Retry-After": "1"}, content=b"<html>no</html>")

    with (
        client(answer) as one,
        pytest.raises(UnexpectedStatus, match=f"{status}.*<html>") as caught,
    ):
        new.sync_detailed(client=one)
    assert caught.value.status_code == status
    assert caught.value.headers["retry-after"] == "1"
    assert caught.value.content == b"<html>no</html>"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_body_that_is_no_page_raises_a_decode_error() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=b"<html>")

    with client(answer) as one, pytest.raises(msgspec.DecodeError):
        new.sync_detailed(client=one)


def test_the_key_is_in_no_repr() -> None:
    with client(page) as one:
        shown = f"{one!r} {one.get_httpx_client()!r} {vars(one.get_httpx_client())!r}"
    assert "secret" not in shown


def test_a_key_with_a_line_break_is_refused_without_being_shown() -> None:
    with pytest.raises(ValueError, match="credential") as caught:
        Client("Klaviyo-API-Key pk_very_secret\n")
    assert "secret" not in str(caught.value)


def test_waiting_is_finite_by_default() -> None:
    with Client(KEY) as one:
        timeout = one.get_httpx_client().timeout
    assert None not in timeout.as_dict().values()
