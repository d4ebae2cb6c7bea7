"""Addresses and contexts without their secrets, for error messages, logs, repr, commands and admin pages."""

from __future__ import annotations

import base64
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from fnmatch import translate
from itertools import pairwise
from typing import Any
from urllib.parse import unquote_plus

from sagaz_durable.tag_keys import BYTES, ENUM, tag_key_of
from sagaz_integration_core.error_text import json_text

__all__ = [
    "JWT",
    "MASK",
    "PRIVATE_KEY",
    "has_credentials",
    "looks_secret",
    "masked",
    "masked_json",
    "redact",
    "scheme_of",
    "secret_keys",
]

MASK = "***"
"""What is shown in place of a secret."""

_OMITTED = "…"

IsSecret = Callable[[str], bool]

# Addresses: only what is known to be harmless is shown. What looks like a password cannot be told: a malformed address
# has it where a well-formed one has the host, the database or the name of a parameter. Few processes ever show one:
# `re` compiles a pattern with its first use.

_SCHEME = r"[A-Za-z][A-Za-z0-9+.-]{0,30}(?=://)"
_ADDRESS = r"(?s)(?P<userinfo>[^/?#]*@)?(?P<hosts>[^/?#@]*)(?P<path>/[^?#]*)?(?P<query>\?.*)?"
_HOST = r"([A-Za-z0-9_.-]*|\[[0-9A-Fa-f:.]*\])(:[0-9]{0,5})?"
_PATH = r"[A-Za-z0-9_./-]*"
_PARAMETER = (
    r"(host|hostaddr|dbname)=[A-Za-z0-9_./,-]*|(port|connect_timeout|heartbeat|max_stream_length)=[0-9,]*"
    r"|sslmode=(disable|allow|prefer|require|verify-ca|verify-full)|pgbouncer=(true|false|on|off|1|0)"
    r"|target_session_attrs=(any|read-write|read-only|primary|standby|prefer-standby)"
)


def redact(url: object) -> str:
    """Return an address without user, password and unknown parameters; it never raises.

    Of what is no address, only the scheme is left.
    """
    if not isinstance(url, str):
        return f"<{type(url).__name__}>"
    scheme = scheme_of(url)
    if scheme == "sqlite" and url.startswith("sqlite:///"):
        return url
    parts = re.fullmatch(_ADDRESS, url[len(scheme) + 3 :]) if scheme else None
    if parts is None or "@" in (parts["path"] or "") + (parts["query"] or ""):
        return f"{scheme}://{_OMITTED}" if scheme else _OMITTED
    userinfo = f"{MASK}@" if parts["userinfo"] else ""
    hosts = parts["hosts"] if all(re.fullmatch(_HOST, host) for host in parts["hosts"].split(",")) else _OMITTED
    path = parts["path"] or ""
    return (
        f"{scheme}://{userinfo}{hosts}{path if re.fullmatch(_PATH, path) else f'/{_OMITTED}'}{_query(parts['query'])}"
    )


def scheme_of(url: str) -> str:
    """Return what stands before ``://``; empty when nothing does that could be a scheme."""
    found = re.match(_SCHEME, url)
    return "" if found is None else found[0]


def _query(query: str | None) -> str:
    shown = [part if re.fullmatch(_PARAMETER, part) else _OMITTED for part in (query or "?")[1:].split("&")]
    return "" if query is None else f"?{'&'.join(shown)}"


# Keys are compared as words: card_number, cardNumber, CARD-NUMBER and card_number2 are the same two.
# The patterns from here on are compiled when they are first used, and not in each process that starts.

_WORD = r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+"

_WORDS = frozenset(
    (
        *("pwd", "passwd", "password", "passphrase", "passcode", "secret", "token", "credential", "authorization"),
        *("authorisation", "auth", "bearer", "cookie", "session", "cvv", "cvc", "csc", "pan", "pin", "ssn", "iban"),
        *("otp", "totp", "jwt", "jwe", "dsn"),
    )
)
"""What a key means that has one of these words, in the singular."""

_LAST_WORDS = frozenset(("pass",))
"""The same, where it is the last one: boarding_pass, but not pass_rate."""

_PAIRS = frozenset(
    (
        *("apikey", "accesskey", "accountkey", "privatekey", "secretkey", "signingkey", "encryptionkey", "licensekey"),
        *("sshkey", "storagekey", "passkey", "cardnumber", "cardno", "cardnum", "creditcard", "debitcard", "bankcard"),
        *("accountnumber", "accountno", "passportnumber", "taxid", "securitycode", "verificationcode", "recoverycode"),
        *("backupcode", "passconfirm", "confirmpass", "passhash", "databaseurl", "databaseuri", "dburl", "dburi"),
        *("redisurl", "brokerurl", "amqpurl", "mongourl", "mongouri", "postgresurl", "storageurl"),
        *("connectionstring", "connectionurl"),
    )
)
"""The same for two words, one after the other, or written as one."""

_RUN_TOGETHER = (
    "passw(or)?d|passphrase|passcode|secret|token|credential|authori[sz]ation|cookie|apikey|accesskey|privatekey"
    "|creditcard|debitcard|cardnumber|accountnumber|sessionid|sessionkey|connectionstring|databaseur[li]|onetimecode"
)
"""What no other words are part of, so that it is found in keys that are written as one word."""


def looks_secret(key: str) -> bool:
    """Whether a context's key names what should not be shown, as ``card_number``, ``apiKey`` or ``Password1`` do."""
    words = [_singular(word.lower()) for word in re.findall(_WORD, unicodedata.normalize("NFKC", key))]
    if not words:
        return False
    pairs = {first + second for first, second in pairwise(words)}
    return (
        not _WORDS.isdisjoint(words)
        or words[-1] in _LAST_WORDS
        or not _PAIRS.isdisjoint(pairs | set(words))
        or re.search(_RUN_TOGETHER, "".join(words)) is not None
    )


def _singular(word: str) -> str:
    return word[:-1] if word.endswith("s") and word[:-1] in _WORDS else word


def secret_keys(patterns: Sequence[str]) -> IsSecret:
    """Return the test for keys whose values are not shown: `looks_secret`, as a project's patterns change it.

    Args:
        patterns: Shell patterns for whole keys, case ignored; one behind a ``!`` is for keys that may be shown. The
            last one that matches decides.
    """
    rules = [(re.compile(translate(p.removeprefix("!")), re.IGNORECASE), p[:1] != "!") for p in reversed(patterns)]

    def is_secret(key: str) -> bool:
        for pattern, secret in rules:
            if pattern.match(key):
                return secret
        return looks_secret(key)

    return is_secret


# Values that tell by themselves that they are secret, whatever their key is.

JWT = r"eyJ[\w-]+\.[\w-]+\.[\w-]*"
PRIVATE_KEY = "-----BEGIN [A-Z ]{0,30}PRIVATE KEY"
"""What a JSON web token looks like, and how a private key begins."""

_HIDDEN_TEXT = (
    r"(?i)^\s*(bearer|negotiate)\s+\S|^\s*(basic|digest|token|apikey)\s+[\w.~+/-]{8,}=*\s*$"  # an Authorization header
    rf"|^{JWT}$|{PRIVATE_KEY}"
)
_PARAMETER_NAME = r"(?:^|[?&;\s])([\w.%+-]{1,100})\s*=\s*[^\s&;]"
_HEADER_LINE = r"\s*([\w.-]{1,100})\s*:\s*\S"
_NAMES = ("name", "key", "header", "field")
_VALUES = ("value", "values")


def masked(value: Any, is_secret: IsSecret = looks_secret) -> Any:
    """Return JSON-like data with `MASK` in place of secrets, at any depth.

    Secret are: what has a secret key; a pair (``["Authorization", …]``, ``{"name": "Authorization", "value": …}``) or a
    header's line whose name is one; addresses with credentials, bearer tokens, JSON web tokens and private keys.
    """
    if tag_key_of(value) == BYTES:
        return MASK if _is_secret_text(_text(value) or "", is_secret) else value
    if isinstance(value, dict):
        named = {key for key in _VALUES if key in value} if _names_secret(value, is_secret) else ()
        return {
            key: MASK if is_secret(key) or key in named else masked(inner, is_secret) for key, inner in value.items()
        }
    if isinstance(value, list):
        if len(value) == 2 and _is_secret_name(value[0], is_secret):
            return [value[0], MASK]
        return [masked(inner, is_secret) for inner in value]
    return MASK if isinstance(value, str) and _is_secret_text(value, is_secret) else value


def _names_secret(value: dict[str, Any], is_secret: IsSecret) -> bool:
    return any(_is_secret_name(name, is_secret) for name in map(value.get, _NAMES))


def _is_secret_name(name: Any, is_secret: IsSecret) -> bool:
    text = _text(name)
    return text is not None and is_secret(text)


def _text(value: Any) -> str | None:
    """Return the text that a part of a JSON tree stands for, as bytes and members of enums do, too."""
    key = tag_key_of(value)
    text = value if key is None else value[key]
    if key == BYTES and isinstance(text, str):
        try:
            return base64.b64decode(text).decode(errors="replace")
        except ValueError:
            return None
    if key == ENUM and isinstance(text, list) and len(text) == 2:
        return _text(text[1])
    return text if isinstance(text, str) else None


def _is_secret_text(text: str, is_secret: IsSecret) -> bool:
    if re.search(_HIDDEN_TEXT, text) is not None or any(map(has_credentials, text.split() if "://" in text else ())):
        return True
    header = re.match(_HEADER_LINE, text)
    names = [unquote_plus(name) for name in re.findall(_PARAMETER_NAME, text)]
    return any(map(is_secret, names)) or (header is not None and is_secret(header[1]))


def has_credentials(word: str) -> bool:
    """Whether an address, with what stands around it, has a user or a password."""
    rest = word.partition("://")[2]
    before, at, _ = rest.rpartition("@")
    # A password that is not encoded may hold a slash; a path may hold an @.
    return bool(at) and (":" in before or "/" not in before)


def masked_json(text: str, is_secret: IsSecret = looks_secret) -> str:
    """Return JSON with `MASK` in place of secrets; see `masked`."""
    return json_text(masked(json.loads(text), is_secret))
