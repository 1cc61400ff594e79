"""Credentials: which are accepted, whose account and quota they use, how the log names them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping

import attrs

from klaviyo_variant_jobs.sandbox import refusals


@attrs.frozen
class Caller:
    """An accepted credential. `identity` names it without the secret.

    It sees the jobs of `account`. Requests with the same `quota` are counted together.
    """

    identity: str
    account: str
    quota: str
    has_scope: bool = attrs.field(kw_only=True)


def identity_of(secret: str) -> str:
    """A short name for a key or token: eight hex digits of its SHA-256."""
    return hashlib.sha256(secret.encode()).hexdigest()[:8]


class Access:
    """Finds the caller of an Authorization header."""

    def __init__(
        self,
        *,
        api_keys: Mapping[str, str] | None,
        access_tokens: Mapping[str, str] | None,
        without_scope: Collection[str],
    ) -> None:
        self._api_keys = api_keys
        self._access_tokens = access_tokens
        self._without_scope = frozenset(without_scope)
        self._known: dict[str, Caller] = {}

    def caller(self, authorization: str | None) -> Caller:
        """Who sent this header.

        Raises:
            Refusal: the sandbox does not accept it.
        """
        if authorization is None:
            raise refusals.not_authenticated()
        known = self._known.get(authorization)
        if known is None:
            known = self._known[authorization] = self._admit(authorization)
        return known

    def account_of(self, credential: str) -> str:
        """The account of a key or token.

        Raises:
            ValueError: the sandbox does not accept it. The message does not quote it.
        """
        try:
            if credential.startswith("pk_") or credential in (self._api_keys or {}):
                return self._account_of_key(credential)
            return self._account_of_token(credential)
        except refusals.Refusal:
            raise ValueError(
                "the sandbox does not accept this credential; see its api_keys and access_tokens"
            ) from None

    def check_scope(self, caller: Caller) -> None:
        """Raise `Refusal` for a caller without the scope."""
        if not caller.has_scope:
            raise refusals.permission_denied()

    def _admit(self, authorization: str) -> Caller:
        scheme, _, secret = authorization.partition(" ")
        if scheme == "Bearer":
            account = self._account_of_token(secret)
            # An app has its own quota in every account it is installed in.
            quota = f"{account}, through the app"
        elif scheme == "Klaviyo-API-Key":
            quota = account = self._account_of_key(secret)
        else:
            raise refusals.not_authenticated()
        return Caller(
            identity_of(secret), account, quota, has_scope=secret not in self._without_scope
        )

    def _account_of_key(self, key: str) -> str:
        if self._api_keys is None and key.startswith("pk_"):
            return f"account of {identity_of(key)}"
        account = (self._api_keys or {}).get(key)
        if account is None:
            raise refusals.not_authenticated()
        return account

    def _account_of_token(self, token: str) -> str:
        if self._access_tokens is None and token:
            return "account of the app"
        account = (self._access_tokens or {}).get(token)
        if account is None:
            raise refusals.authentication_failed()
        return account
