"""What is masked before anybody sees a context."""

from __future__ import annotations

import json

import pytest

from sagaz_durable.redaction import looks_secret, masked, masked_json, secret_keys
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.errors import SettingsError


def test_the_usual_secrets_are_masked_at_any_depth():
    shown = masked({"card_number": "4111", "items": [{"api_key": {"a": 1}, "sku": "A"}], "amount": 3})
    assert shown == {"card_number": "***", "items": [{"api_key": "***", "sku": "A"}], "amount": 3}


@pytest.mark.parametrize(
    "key",
    [
        *("password", "Password1", "passwordConfirm", "PASSWORD_CONFIRMATION", "new-password", "user.passwd", "pwd2"),
        *("userPass", "pass", "pass_1", "db_pass", "passphrase", "x-api-key", "api-key", "apiKey", "APIKey", "apikey3"),
        *("ApiKeys", "access_key", "accessKey", "AWS_ACCESS_KEY_ID", "accesskey", "private-key", "signing key"),
        *("card-number", "cardNumber", "card_number2", "CARDNUMBER", "creditcard", "credit_card", "creditCardNo"),
        *("cvv", "CVV2", "cardCvc", "pan", "pin", "pins", "pin_code", "otp", "otpCode", "totp", "one_time_code"),
        *("jwt", "idJwt", "session", "session_id", "sessionId", "SESSIONID", "sessionkey", "Set-Cookie", "cookies"),
        *("Authorization", "proxy-authorization", "auth", "bearer", "token", "accessToken", "refresh_tokens"),
        *("client_secret", "oauth2_token", "clientSecrets", "credentials", "database_url", "databaseUrl", "dsn"),
        "DATABASE-URL",
        *("connectionString", "iban", "ssn", "security_code", "account_number", "pass_word"),
        "\uff50\uff41\uff53\uff53\uff57\uff4f\uff52\uff44",
    ],
)  # fmt: skip
def test_keys_of_secrets_are_known_in_every_spelling(key):
    assert looks_secret(key)
    assert masked({key: 1, "a": [{key: [2]}]}) == {key: "***", "a": [{key: "***"}]}


@pytest.mark.parametrize(
    "key",
    [
        *("amount", "sku", "idempotency_key", "key", "author", "company", "panel", "shipping", "pinned", "opinion"),
        *("passenger", "pass_rate", "compass", "card", "card_type", "number", "order_number", "url", "image_url"),
        *("status", "customer_id", "keyboard", "public_key", "monkey", "expansion", "japan", "", "1", "日本"),
    ],
)
def test_what_only_looks_similar_is_shown(key):
    assert masked({key: 1}) == {key: 1}


@pytest.mark.parametrize(
    "value",
    [
        *("postgresql://me:hunter2@h/db", "see redis://:hunter2@h/0", "https://hunter2@h", "amqp://u:hun/ter2@h"),
        *("https://h/?access_token=hunter2", "https://h/?a=1&api-key=hunter2", "host=h password=hunter2"),
        *("Bearer hunter2", "basic aHVudGVyMg==", "Authorization: Bearer hunter2", "X-Api-Key: hunter2"),
        *("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.abc", "-----BEGIN RSA PRIVATE KEY-----\nhunter2"),
    ],
)  # fmt: skip
def test_values_that_are_secret_by_themselves_are_masked_under_any_key(value):
    assert masked({"a": value, "b": [value]}) == {"a": "***", "b": ["***"]}


@pytest.mark.parametrize(
    "value", ["https://h/a?page=2", "https://h/@me/a", "me@example.com", "a: b", "Basic plan", "10:30", "x = y", ""]
)
def test_other_values_are_shown(value):
    assert masked({"a": value}) == {"a": value}


def test_pairs_whose_name_is_secret_are_masked():
    headers = [["Authorization", "hunter2"], ["Accept", "*/*"]]
    assert masked({"headers": headers}) == {"headers": [["Authorization", "***"], ["Accept", "*/*"]]}
    assert masked([{"name": "x-api-key", "value": "hunter2"}, {"name": "Accept", "value": "a"}]) == [
        {"name": "x-api-key", "value": "***"},
        {"name": "Accept", "value": "a"},
    ]


@pytest.mark.parametrize("unit", [":", "://", "://:", "?", "&a", "a=", "@", " ", "-----BEGIN ", "eyJ.", "aB1_", ": "])
def test_masking_takes_no_longer_than_its_text_is_long(unit):
    # Half a megabyte; whatever is not linear would reach pytest's own time limit.
    text = unit * (500_000 // len(unit))
    assert masked_json(json.dumps({"a": text, unit * 8_000: 1}))


def test_a_project_adds_keys_by_patterns_and_takes_others_out_and_the_last_one_decides():
    is_secret = secret_keys(["customer_*", "!token_count", "!*_id", "customer_id", "!customer_city"])
    keys = ["Customer_Name", "TOKEN_count", "api_token_id", "customer_id", "password", "amount", "a_customer_b"]
    assert [key for key in [*keys, "customer_city"] if is_secret(key)] == ["Customer_Name", "customer_id", "password"]


@pytest.mark.parametrize("given", [["a*", "!b"], ("a*", "!b"), " a* , !b"])
def test_patterns_are_a_list_or_a_string_with_commas(given):
    assert Settings.from_mapping({"REDACT_KEYS": given}).redact_keys == ("a*", "!b")


@pytest.mark.parametrize("given", [[], ""])
def test_there_may_be_no_patterns(given):
    assert Settings.from_mapping({"REDACT_KEYS": given}).redact_keys == ()


@pytest.mark.parametrize("given", [None, 3, [1], [""], ["!"], ["a" * 201], "a,,b", {"a": 1}, [b"a"]])
def test_what_are_no_patterns_is_refused(given):
    with pytest.raises(SettingsError, match="expected patterns for keys"):
        Settings.from_mapping({"REDACT_KEYS": given})
