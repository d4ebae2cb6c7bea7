"""What is masked before anybody sees a context."""

from __future__ import annotations

import pytest

from sagaz_integration_core.errors import SettingsError
from sagaz_integration_core.redaction import masked, secret_keys
from sagaz_integration_core.settings import Settings


def test_the_usual_secrets_are_masked_at_any_depth():
    shown = masked({"card_number": "4111", "items": [{"api_key": {"a": 1}, "sku": "A"}], "amount": 3})
    assert shown == {"card_number": "***", "items": [{"api_key": "***", "sku": "A"}], "amount": 3}


def test_a_project_adds_keys_by_patterns_and_takes_others_out_and_the_last_one_decides():
    is_secret = secret_keys(["customer_*", "!token_count", "!*_id", "customer_id"])
    keys = ["Customer_Name", "token_count", "api_token_id", "customer_id", "password", "amount", "a_customer_b"]
    assert [key for key in keys if is_secret(key)] == ["Customer_Name", "customer_id", "password"]


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
