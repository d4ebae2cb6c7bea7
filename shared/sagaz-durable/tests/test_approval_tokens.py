"""A token for an approval names what was signed, with one of the keys and for this purpose, and for its time only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sagaz_durable.operations.approvals import Approval, chosen_signer, new_token, read_token
from sagaz_durable.settings.settings import Settings
from sagaz_durable.settings.wording import Wording
from sagaz_durable.signing import KeySigner
from sagaz_integration_core.errors import ApprovalExpired, ApprovalInvalid, InvalidInput, SettingsError, UsageError

OLD, NEW, OTHER = "old-" * 8, "new-" * 8, "other-" * 6
SETTINGS = Settings(signing_keys=(NEW, OLD))
WEEK = timedelta(days=7)


def signer(*keys: str, purpose: str = "sagaz approval") -> KeySigner:
    return KeySigner(keys or (NEW, OLD), purpose)


def token_for(
    of=None, name="approval", *, saga_id=None, key=None, signal_id="", expires=WEEK, settings=SETTINGS
) -> str:
    if saga_id is None and key is None:
        saga_id = "run-1"
    return new_token(
        of or signer(), settings, name, saga_id=saga_id, key=key, signal_id=signal_id, expires=expires
    )  # fmt: skip


PRINTABLE = st.text(min_size=1, max_size=200).filter(str.isprintable)


@given(PRINTABLE, PRINTABLE, st.booleans(), st.just("") | PRINTABLE)
def test_a_token_names_what_was_signed_and_fits_into_an_address(name, address, is_key, signal_id):
    to = {"key": address} if is_key else {"saga_id": address}
    token = token_for(name=name, signal_id=signal_id, **to)
    approval = read_token(chosen_signer(SETTINGS, None), token)
    expected = Approval(name, to.get("saga_id"), to.get("key"), signal_id, approval.expires_at)
    assert approval == expected
    assert timedelta(days=6) < approval.expires_at - datetime.now(UTC) <= WEEK
    assert all(character.isascii() and (character.isalnum() or character in "-_.") for character in token)


@pytest.mark.parametrize("character", ["a", "é", "審", "\U0001f600", '"', "\\"])
def test_the_longest_names_of_any_script_fit_into_an_address(character):
    longest = 200 * character
    token = token_for(name=longest, key=longest, signal_id=longest)
    assert read_token(signer(), token).key == longest
    # Gunicorn takes no longer line of a request.
    assert len(token) < 4_000


def test_one_bit_changed_anywhere_makes_it_no_token():
    token = token_for().encode()
    for place in range(len(token)):
        for bit in range(8):
            changed = bytearray(token)
            changed[place] ^= 1 << bit
            with pytest.raises(ApprovalInvalid):
                read_token(signer(), changed.decode("latin-1"))


@given(st.text(max_size=300))
def test_whatever_else_is_sent_is_no_token(text):
    token = token_for()
    for sent in (
        text,
        f"{token}{text}" if text else "",
        f"{text}{token}" if text else "",
        f"{text}.{text}",
        token[:-1],
    ):
        with pytest.raises(ApprovalInvalid):
            read_token(signer(), sent)


@pytest.mark.parametrize("sent", [None, 7, b"", ["a"], "\ud800", "\0", "a" * 10_000_000], ids=repr)
def test_what_cannot_be_a_token_is_none(sent):
    with pytest.raises(ApprovalInvalid):
        read_token(signer(), sent)


def test_a_former_key_verifies_until_it_is_taken_out():
    former = token_for(signer(OLD))
    assert read_token(signer(NEW, OLD), former).saga_id == "run-1"
    assert read_token(signer(NEW), token_for(signer(NEW, OLD))).saga_id == "run-1"
    with pytest.raises(ApprovalInvalid):
        read_token(signer(NEW, OTHER), former)


def test_what_the_same_key_has_signed_for_another_purpose_is_no_approval():
    token = token_for(signer(purpose="sagaz something else"))
    with pytest.raises(ApprovalInvalid):
        read_token(signer(), token)


def test_a_token_expires():
    token = signer().sign(["approval", "run-1", None, "", datetime(2026, 1, 2, 3, 4, tzinfo=UTC).timestamp()])
    with pytest.raises(ApprovalExpired, match="before 2026-01-02 03:04 UTC"):
        read_token(signer(), token)


@pytest.mark.parametrize("expires", [timedelta(0), timedelta(days=-1), 60, None], ids=repr)
def test_a_life_that_is_over_is_refused(expires):
    with pytest.raises(UsageError, match="expected a timedelta from now on"):
        token_for(expires=expires)


@pytest.mark.parametrize("name", ["keep_signals_seconds", "keep_unclaimed_seconds"])
def test_a_token_does_not_outlive_what_makes_it_single_use(name):
    settings = Settings(**{name: 3_600.0}, wording=Wording(settings='SAGAZ["{name}"]'))
    assert token_for(expires=timedelta(hours=1), settings=settings)
    with pytest.raises(UsageError, match=rf'SAGAZ\["{name.upper()}"\]'):
        token_for(expires=timedelta(hours=1, seconds=1), settings=settings)


def test_a_token_is_for_one_signal_of_a_run_or_a_key():
    with pytest.raises(UsageError, match="exactly one of saga_id and key"):
        token_for(saga_id="run-1", key="k")
    for wrong in ({"name": ""}, {"name": "a\nb"}, {"key": "k" * 201}, {"signal_id": "\0"}):
        with pytest.raises(InvalidInput):
            token_for(**wrong)


def test_without_keys_and_a_secret_of_the_framework_the_error_names_the_setting():
    with pytest.raises(SettingsError, match=r"SAGAZ_SIGNING_KEYS is not set.*secrets\.token_urlsafe"):
        chosen_signer(Settings(), None)
    own = signer(OTHER)
    assert chosen_signer(Settings(), own) is own
    assert chosen_signer(SETTINGS, own) is not own


def test_nothing_shows_the_keys():
    assert NEW not in repr(SETTINGS) + repr(signer()) + str(vars(signer()))
    assert "signing_keys='***'" in repr(SETTINGS)
    assert "signing_keys=()" in repr(Settings())
