"""What exceptions say, without the secrets in it: an HTTP client's message has the whole address that it called."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

from sagaz_durable.redaction import JWT, MASK, PRIVATE_KEY, has_credentials, looks_secret
from sagaz_integration_core.error_text import error_text

__all__ = ["masked_error", "masked_text"]

# Only what is sure to be a secret is left out: "password: too short" is what operators need.

_ADDRESS = r"([A-Za-z][A-Za-z0-9+.-]{0,30}://)(\S+)"
# A quote that was opened may not be closed where a long text was cut.
_VALUE = r"""("[^"]*"?|'[^']*'?|[^\s&;,)}\]"']+)"""
_PARAMETER = rf"([\w.%+-]{{1,100}})(\s?=\s?){_VALUE}"
_MEMBER = rf"""(["'])([\w .-]{{1,100}})(\1\s?:\s?){_VALUE}"""
_HEADER = r"(?i)\b(authorization|cookie|x-api-key)(['\"]?\s?:\s?).*"
_BEARER = r"(?i)\b(bearer )[\w.~+/=-]{16,}"
_TOKEN = f"{JWT}|{PRIVATE_KEY}.*"


def masked_error(error: BaseException) -> str:
    """Return an exception's type and message as `error_text` does, with `MASK` in place of secrets."""
    return masked_text(error_text(error))


def masked_text(text: str) -> str:
    """Return a text for people with `MASK` in place of the secrets in it.

    Secret are: the user and the password of an address; what has a secret key, as a parameter (``api_key=…``) or as a
    member (``'password': '…'``); the values of headers that identify somebody; bearer tokens, JSON web tokens and
    private keys.
    """
    text = re.sub(_ADDRESS, _without_user, text)
    text = re.sub(_MEMBER, lambda one: f"{one[1]}{one[2]}{one[3]}{MASK}" if looks_secret(one[2]) else one[0], text)
    text = re.sub(
        _PARAMETER, lambda one: f"{one[1]}{one[2]}{MASK}" if looks_secret(unquote_plus(one[1])) else one[0], text
    )
    text = re.sub(_HEADER, rf"\1\2{MASK}", text, flags=re.DOTALL)
    text = re.sub(_BEARER, rf"\1{MASK}", text)
    return re.sub(_TOKEN, MASK, text, flags=re.DOTALL)


def _without_user(found: re.Match[str]) -> str:
    scheme, rest = found.groups()
    if has_credentials(found[0]):
        return f"{scheme}{MASK}@{rest.rpartition('@')[2]}"
    # What follows the host and is no port is the beginning of a password: it has a blank, or the text is cut there.
    host, colon, port = re.split(r"[/?#]", rest, maxsplit=1)[0].partition(":")
    is_password = colon and not host.startswith("[") and re.fullmatch(r"[0-9]{0,5}\W*", port) is None
    return f"{scheme}{MASK}" if is_password else found[0]
