"""Approvals in Django: tokens that the project signs, and decisions that commit with other rows or not at all."""

from __future__ import annotations

import contextlib
import threading
from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.core import signing
from django.core.management import call_command
from django.db import connections, transaction
from django.test import override_settings
from places import on, worked
from testproject.shop.models import Order

import django_sagaz
from django_sagaz import (
    Approval,
    ApprovalDecided,
    ApprovalEnded,
    ApprovalExpired,
    ApprovalInvalid,
    TransactionRequired,
    UsageError,
    WrongDatabase,
    adecide_approval,
    approval_token,
    decide_approval,
    read_approval,
)
from django_sagaz.models import AuditEntry, Run, Signal, Step
from support.approval_errors import check_errors

EVERYWHERE = on()

FORMER, LATER = "the former secret", "the later secret"


def decide(home, token, payload, by="mia", **options):
    """Write a row, and decide."""
    Order.objects.using(home).create(name=f"by {by}")
    return decide_approval(token, payload, by=by, connection=transaction.get_connection(home), **options)


def counts(home):
    return tuple(model.objects.using(home).count() for model in (Order, Signal, AuditEntry))


@EVERYWHERE
@pytest.mark.parametrize("by_key", [False, True])
def test_a_decision_commits_with_the_other_rows_and_who_and_why_stand_in_the_audit(home, waiting, by_key):
    token = approval_token("paid", **({"key": "pi_1"} if by_key else {"saga_id": waiting}))
    with transaction.atomic(home):
        assert decide(home, token, {"yes": 1}, reason="50% known") is True
    worked()
    assert counts(home) == (1, 1, 1)
    assert Run.objects.using(home).get().status == "completed"
    assert Step.objects.using(home).get().result == {"paid": {"yes": 1}}
    note = AuditEntry.objects.using(home).get()
    assert (note.saga_id, note.action, note.actor, note.reason) == (waiting, "signal", "mia", "50% known")
    assert (note.found, note.status) == ("waiting", "waiting")


@EVERYWHERE
def test_a_rollback_leaves_neither_the_decision_nor_its_note(home, waiting):
    token = approval_token("paid", saga_id=waiting)
    with contextlib.suppress(ZeroDivisionError), transaction.atomic(home):
        decide(home, token, {"yes": 1})
        raise ZeroDivisionError
    worked()
    assert counts(home) == (0, 0, 0)
    with transaction.atomic(home):
        assert decide(home, token, {"yes": 0}) is True


@EVERYWHERE
def test_the_same_decision_again_is_harmless_and_another_one_is_refused(home, waiting):
    tokens = [approval_token("paid", saga_id=waiting, expires=timedelta(hours=n)) for n in (1, 2)]
    with transaction.atomic(home):
        assert decide(home, tokens[0], {"yes": 1}) is True
    for _ in range(2):
        for token in tokens:
            with transaction.atomic(home):
                assert decide(home, token, {"yes": 1}, by="max") is False
            with pytest.raises(ApprovalDecided), transaction.atomic(home):
                decide(home, token, {"yes": 0}, by="max")
        worked()
    assert [note.actor for note in AuditEntry.objects.using(home).all()] == ["mia"]


@EVERYWHERE
def test_of_two_different_decisions_at_once_one_counts_and_the_other_is_told(home, waiting):
    token = approval_token("paid", saga_id=waiting)
    both, answers = threading.Barrier(2), {}

    def deciding(n):
        try:
            both.wait(20)
            with transaction.atomic(home):
                answers[n] = decide(home, token, {"n": n}, by=f"m{n}")
        except ApprovalDecided:
            answers[n] = "decided"
        finally:
            connections.close_all()

    threads = [threading.Thread(target=deciding, args=(n,)) for n in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    worked()
    assert sorted(map(str, answers.values())) == ["True", "decided"]
    [winner] = [n for n, answer in answers.items() if answer is True]
    assert Step.objects.using(home).get().result == {"paid": {"n": winner}}
    assert counts(home) == (1, 1, 1)


@on("default")
def test_a_run_that_has_ended_takes_no_decision(home, waiting):
    token = approval_token("paid", saga_id=waiting)
    call_command("sagaz_cancel", waiting, by="ada")
    worked()
    with pytest.raises(ApprovalEnded), transaction.atomic(home):
        decide(home, token, {"yes": 1})


@on("default")
def test_a_token_expires(home, waiting):
    over = signing.dumps(["paid", waiting, None, "", 1.0], salt="django_sagaz.approvals")
    with pytest.raises(ApprovalExpired, match="1970-01-01"), transaction.atomic(home):
        decide(home, over, {"yes": 1})
    assert counts(home) == (0, 0, 0)


@on("default")
def test_a_decision_needs_a_transaction_on_the_database_of_the_runs_and_a_name(home, waiting):
    token = approval_token("paid", saga_id=waiting)
    with pytest.raises(TransactionRequired, match="the decision could commit with"):
        decide_approval(token, {"yes": 1}, by="mia")
    with pytest.raises(WrongDatabase), transaction.atomic(home):
        decide_approval(token, {"yes": 1}, by="mia", using="pg")
    with pytest.raises(UsageError, match="names nobody"), transaction.atomic(home):
        decide_approval(token, {"yes": 1}, by=" ")
    assert counts(home) == (0, 0, 0)


@EVERYWHERE
def test_in_asynchronous_code_a_decision_commits_by_itself(home, waiting):
    token, decide = approval_token("paid", saga_id=waiting), async_to_sync(adecide_approval)
    assert decide(token, {"yes": 1}, by="mia", reason="known") is True
    assert decide(token, {"yes": 1}, by="mia", using=home) is False
    with pytest.raises(ApprovalDecided):
        decide(token, {"yes": 0}, by="mia")
    note = AuditEntry.objects.using(home).get()
    assert (note.saga_id, note.actor, note.reason) == (waiting, "mia", "known")


def test_all_that_can_be_wrong_with_a_token_is_what_a_client_got_wrong():
    check_errors(django_sagaz)


@pytest.mark.parametrize("character", ["é", "\U0001f600"])
def test_the_longest_names_of_any_script_fit_into_an_address(character):
    longest = 200 * character
    token = approval_token(longest, key=longest, signal_id=longest)
    assert read_approval(token).key == longest
    assert len(token) < 4_000


def test_one_bit_changed_anywhere_makes_it_no_token():
    token = approval_token("paid", saga_id="run-1").encode()
    assert isinstance(read_approval(token.decode()), Approval)
    for place in range(len(token)):
        for bit in range(8):
            changed = bytearray(token)
            changed[place] ^= 1 << bit
            with pytest.raises(ApprovalInvalid):
                read_approval(changed.decode("latin-1"))


def test_what_the_same_secret_has_signed_for_another_purpose_is_no_approval():
    values = ["paid", "run-1", None, "", 4e9]
    others = [signing.dumps(values), signing.dumps(values, salt="password reset"), signing.Signer().sign("x")]
    for token in (*others, "", ":", "a:b:c", "\0", "\ud800"):
        with pytest.raises(ApprovalInvalid):
            read_approval(token)


def test_a_former_secret_verifies_as_long_as_it_is_a_fallback():
    with override_settings(SECRET_KEY=FORMER):
        token = approval_token("paid", saga_id="run-1")
    with override_settings(SECRET_KEY=LATER), pytest.raises(ApprovalInvalid):
        read_approval(token)
    with override_settings(SECRET_KEY=LATER, SECRET_KEY_FALLBACKS=[FORMER]):
        assert read_approval(token).saga_id == "run-1"
        newer = approval_token("paid", saga_id="run-2")
    with override_settings(SECRET_KEY=LATER):
        assert read_approval(newer).saga_id == "run-2"
