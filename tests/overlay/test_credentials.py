"""Keys and tokens reach the one header they are for, and nothing else."""

from __future__ import annotations

import pickle
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from klaviyo_variant_jobs.credentials import Credential, clean_secret, credential_from

KEY = "pk_0123456789abcdef"


@pytest.fixture(autouse=True)
def _no_key_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KLAVIYO_API_KEY", raising=False)


def header_of(api_key: str | None, access_token: str | None) -> str | None:
    authorization = credential_from(api_key, access_token).authorization
    return authorization and authorization.header


def test_a_key_and_a_token_make_the_headers_that_the_api_documents() -> None:
    assert header_of(KEY, None) == f"Klaviyo-API-Key {KEY}"
    assert header_of(None, "token") == "Bearer token"


@pytest.mark.parametrize("around", ["{}\n", "\r\n {}", "\t{}\x0b", "\u00a0{}\u2003", "{}\x85"])
def test_white_space_around_a_secret_is_stripped(around: str) -> None:
    assert clean_secret(around.format(KEY), "api_key") == KEY


@pytest.mark.parametrize(
    "mark",
    ["\n", "\r", "\r\nX-Other: 1", " ", "\t", "\0", "\x7f", "é", "\u200b", "\ufeff", "\u2028"],
)
@pytest.mark.parametrize("place", [0, 5, len(KEY)])
def test_anything_else_that_is_not_visible_ascii_is_refused_without_being_quoted(
    mark: str, place: int
) -> None:
    secret = KEY[:place] + mark + KEY[place:]
    if secret.strip() == KEY:
        return
    with pytest.raises(ValueError, match=r"^api_key has a character that is not visible") as caught:
        credential_from(secret, None)
    assert_not_told(caught.value, secret)


def test_the_refusal_says_where_the_odd_character_is() -> None:
    with pytest.raises(ValueError, match="position 3 of 5"):
        clean_secret("ab\u200bcd", "api_key")


@given(st.text())
def test_a_secret_is_either_clean_or_refused(secret: str) -> None:
    try:
        cleaned = clean_secret(secret, "api_key")
    except ValueError as error:
        assert error.__cause__ is None
        return
    assert cleaned == secret.strip()
    assert cleaned.isascii()
    assert cleaned.isprintable()
    assert " " not in cleaned


@pytest.mark.parametrize("secret", ["", "  \n"])
def test_an_empty_secret_is_refused(secret: str) -> None:
    with pytest.raises(ValueError, match="access_token is empty"):
        credential_from(None, secret)


@pytest.mark.parametrize("secret", [b"pk_0123456789abcdef", 17, ["pk_0123456789abcdef"]])
def test_a_secret_that_is_no_string_is_refused_without_being_quoted(secret: object) -> None:
    with pytest.raises(ValueError, match="must be a string, not ") as caught:
        credential_from(secret, None)  # type: ignore[arg-type]
    assert_not_told(caught.value, KEY)


def test_the_key_falls_back_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KLAVIYO_API_KEY", f" {KEY}\n")
    assert header_of(None, None) == f"Klaviyo-API-Key {KEY}"
    assert header_of("pk_other", None) == "Klaviyo-API-Key pk_other"
    assert header_of(None, "token") == "Bearer token"


def test_an_unfit_key_of_the_environment_is_named_by_its_variable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KLAVIYO_API_KEY", "pk_a b")
    with pytest.raises(ValueError, match=r"^KLAVIYO_API_KEY has a character"):
        credential_from(None, None)


@pytest.mark.parametrize("found", [None, "", " \n"])
def test_without_any_credential_the_error_names_the_ways_to_give_one(
    found: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if found is not None:
        monkeypatch.setenv("KLAVIYO_API_KEY", found)
    with pytest.raises(ValueError, match="api_key= or access_token=, or set KLAVIYO_API_KEY"):
        credential_from(None, None)


def test_a_key_and_a_token_together_are_refused() -> None:
    with pytest.raises(ValueError, match="either api_key or access_token"):
        credential_from(KEY, "token")


def test_a_callable_is_asked_only_when_its_token_is_needed() -> None:
    def supplier() -> str:
        raise AssertionError("asked too early")

    credential = credential_from(None, supplier)
    assert credential.authorization is None
    assert credential.supplier is supplier
    assert credential.authorization_for(" fresh\n").header == "Bearer fresh"


@pytest.mark.parametrize("token", [None, b"bytes", "", "two words", "line\nbreak"])
def test_what_a_callable_returned_is_checked_like_a_token(token: object) -> None:
    with pytest.raises(ValueError, match=r"^the access token "):
        credential_from(None, str).authorization_for(token)


def test_the_same_key_is_the_same_account_however_it_was_written() -> None:
    assert credential_from(KEY, None).identity == credential_from(f" {KEY}\n", None).identity
    assert credential_from(KEY, None).identity != credential_from(None, KEY).identity
    assert credential_from(KEY, None).identity != credential_from("pk_other", None).identity


def test_a_callable_stands_for_its_account_by_itself() -> None:
    def one() -> str:
        return "token"

    def other() -> str:
        return "token"

    assert credential_from(None, one).identity == credential_from(None, one).identity
    assert credential_from(None, one).identity != credential_from(None, other).identity


@pytest.mark.parametrize("show", [repr, str, "{}".format, ascii])
def test_no_way_of_printing_a_credential_shows_the_secret(show: object) -> None:
    assert callable(show)
    assert KEY not in show(credential_from(KEY, None))
    assert KEY not in show([credential_from(None, KEY)])


def test_a_credential_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="carry the secret along") as caught:
        pickle.dumps(Credential("Bearer", KEY))
    assert_not_told(caught.value, KEY)


def assert_not_told(error: BaseException, secret: str) -> None:
    told = "".join(traceback.format_exception(error)) + repr(error)
    assert secret not in told
    assert KEY not in told
