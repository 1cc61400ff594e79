"""Keys and tokens reach the one header they are for, and nothing else."""

from __future__ import annotations

import dataclasses
import html
import json
import pickle
import traceback
import urllib.parse

import pytest
from hypothesis import given, strategies as st

from klaviyo_variant_jobs.auth import Authorization, Credential, clean_secret, credential_from

KEY = "pk_0123456789abcdef"


@pytest.fixture(autouse=True)
def _no_key_around(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KLAVIYO_API_KEY", raising=False)


def fixed(api_key: str | None = None, access_token: str | None = None) -> Authorization:
    """The header that a fixed key or token makes."""
    authorization = credential_from(api_key, access_token).fixed
    assert authorization is not None
    return authorization


def header_of(api_key: str | None, access_token: str | None) -> str:
    return fixed(api_key, access_token).header


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


@pytest.mark.parametrize("quoted", [f'"{KEY}"', f"'{KEY}'", f"`{KEY}`", f'"{KEY}', f"{KEY}'"])
def test_a_key_wrapped_in_quotes_is_refused_without_being_quoted(
    quoted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match=r"^api_key is wrapped in quotes: remove them") as caught:
        credential_from(quoted, None)
    assert_not_told(caught.value, quoted)
    monkeypatch.setenv("KLAVIYO_API_KEY", f" {quoted}\n")
    with pytest.raises(ValueError, match=r"^KLAVIYO_API_KEY is wrapped in quotes"):
        credential_from(None, None)


@pytest.mark.parametrize("name", ["KLAVIYO_API_KEY", "k", "_x", "api_key2"])
def test_a_whole_line_of_a_settings_file_is_refused_without_being_quoted(name: str) -> None:
    line = f"{name}={KEY}"
    with pytest.raises(ValueError, match=r"^access_token is a whole NAME=value line") as caught:
        credential_from(None, line)
    assert_not_told(caught.value, line)


@pytest.mark.parametrize(
    "token", ["YWJj=", "YWJjZA==", "eyJh.b-_.c=", "=x", "a.b=c", "1a=b", "a'b"]
)
def test_a_token_may_have_the_signs_that_tokens_have(token: str) -> None:
    assert header_of(None, token) == f"Bearer {token}"


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
    assert credential.supplier is supplier
    assert credential.fixed is None
    assert credential.authorization_for(" fresh\n").header == "Bearer fresh"
    assert credential_from(KEY, None).supplier is None


@pytest.mark.parametrize("token", [None, b"bytes", "", "two words", "line\nbreak"])
def test_what_a_callable_returned_is_checked_like_a_token(token: object) -> None:
    with pytest.raises(ValueError, match=r"^the access token "):
        credential_from(None, str).authorization_for(token)


def test_the_same_key_is_the_same_account_however_it_was_written() -> None:
    assert credential_from(KEY, None).identity == credential_from(f" {KEY}\n", None).identity
    assert credential_from(KEY, None).identity != credential_from(None, KEY).identity
    assert credential_from(KEY, None).identity != credential_from("pk_other", None).identity


def test_an_identity_shows_no_key() -> None:
    assert KEY not in repr(credential_from(KEY, None).identity)
    assert KEY.encode() not in repr(credential_from(KEY, None).identity).encode()


def test_a_callable_that_cannot_be_hashed_stands_for_its_account_too() -> None:
    @dataclasses.dataclass
    class Tokens:
        account: str

        def __call__(self) -> str:
            return self.account

    one, same = Tokens("a"), Tokens("a")
    assert hash(credential_from(None, one).identity) == hash(credential_from(None, one).identity)
    assert credential_from(None, one).identity != credential_from(None, same).identity


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


def spellings(secret: str) -> list[str]:
    return [
        secret,
        secret.upper(),
        secret[:-3],
        json.dumps(secret),
        "".join(f"\\u{ord(c):04x}" for c in secret),
        urllib.parse.quote(secret, safe=""),
        "".join(f"%{ord(c):02X}" for c in secret),
        html.escape(secret),
        "".join(f"&#{ord(c)};" for c in secret),
        "".join(f"&#x{ord(c):x};" for c in secret),
    ]


@pytest.mark.parametrize("text", spellings(KEY))
def test_a_secret_that_comes_back_is_taken_out_however_it_is_spelled(text: str) -> None:
    authorization = fixed(KEY)
    shown = f"before {text} after"
    for redacted in (
        authorization.redact(shown),
        authorization.redact_any(shown.encode()).decode(),
    ):
        assert redacted.replace('"', "") == "before [redacted] after"


def test_other_text_and_bytes_that_are_no_text_stay() -> None:
    authorization = fixed(None, "a" * 40)
    assert authorization.redact("no more than aaaaaaaaaaa") == "no more than aaaaaaaaaaa"
    assert authorization.redact_any(bytes(range(256))) == bytes(range(256))
    short = fixed("test")
    assert short.redact("this is a test") == "this is a test"


def test_printing_an_authorization_does_not_show_its_header() -> None:
    assert KEY not in repr(fixed(KEY))


def test_a_credential_is_not_pickled() -> None:
    with pytest.raises(TypeError, match="carry the secret along") as caught:
        pickle.dumps(Credential("Bearer", KEY))
    assert_not_told(caught.value, KEY)


def assert_not_told(error: BaseException, secret: str) -> None:
    told = "".join(traceback.format_exception(error)) + repr(error)
    assert secret not in told
    assert KEY not in told
