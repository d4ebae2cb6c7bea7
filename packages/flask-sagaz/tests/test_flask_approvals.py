"""Approvals in Flask: tokens that the application's own secret signs, and decisions in the request's session."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from string import ascii_letters, digits

import pytest
from flask.sessions import SecureCookieSessionInterface
from flask_sqlalchemy import SQLAlchemy
from itsdangerous import URLSafeTimedSerializer

import flask_sagaz
from flask_sagaz import (
    Approval,
    ApprovalDecided,
    ApprovalEnded,
    ApprovalExpired,
    ApprovalInvalid,
    RunWaiting,
    Saga,
    SettingsError,
    action,
    current_step,
)
from sagaz_integration_core.contract.waits import SignalFilter
from support.approval_errors import check_errors

SECRET, FORMER = "the application's own", b"the former one"
YES, NO = {"approved": True}, {"approved": False}


class OrderSaga(Saga):
    saga_name = "order"

    @action("approve")
    def approve(self, ctx):
        return {"approved": current_step().signal("approval")["approved"]}


@pytest.fixture
def shop(make_app, tmp_path):
    """An application with a table of its own in the file that keeps the runs, and its extension."""
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    config = {"SECRET_KEY": SECRET, "SQLALCHEMY_DATABASE_URI": url}
    app, sagaz = make_app(url, config=config, sagas=[OrderSaga], worker=True)
    app.db = SQLAlchemy(app)
    with app.app_context():
        yield app, sagaz
        app.db.session.remove()
        sagaz.close()
        app.db.engine.dispose()


def started(sagaz):
    with pytest.raises(RunWaiting) as waiting:
        sagaz.run_sync(sagaz.create_saga(OrderSaga))
    return waiting.value.saga_id


def audit(sagaz, saga_id):
    return [(note.actor, note.reason) for note in sagaz.sagas.status_sync(saga_id).audit]


def test_a_decision_in_the_session_is_taken_with_its_commit(shop, ended):
    app, sagaz = shop
    saga_id = started(sagaz)
    token = sagaz.sagas.approval_token("approval", saga_id=saga_id, expires=timedelta(hours=1))

    def decide(payload):
        return sagaz.sagas.decide_approval_sync(token, payload, by="mia", reason="known", session=app.db.session)

    assert decide(NO) is True
    app.db.session.rollback()
    assert (audit(sagaz, saga_id), sagaz.sagas.status_sync(saga_id).status) == ([], "waiting")
    assert decide(YES) is True
    app.db.session.commit()
    assert ended(app, saga_id).status == "completed"
    assert audit(sagaz, saga_id) == [("mia", "known")]
    assert decide(YES) is False
    with pytest.raises(ApprovalDecided):
        decide(NO)


def test_a_run_that_has_ended_takes_no_decision(shop, ended):
    app, sagaz = shop
    saga_id = started(sagaz)
    token = sagaz.sagas.approval_token("approval", saga_id=saga_id)
    sagaz.sagas.cancel_sync(saga_id, by="ada")
    ended(app, saga_id)
    with pytest.raises(ApprovalEnded):
        sagaz.sagas.decide_approval_sync(token, YES, by="mia")


def test_all_that_can_be_wrong_with_a_token_is_what_a_client_got_wrong():
    check_errors(flask_sagaz)


@pytest.mark.parametrize("character", ["é", "\U0001f600"])
def test_the_longest_names_of_any_script_fit_into_an_address(shop, character):
    _, sagaz = shop
    longest = 200 * character
    token = sagaz.sagas.approval_token(longest, key=longest, signal_id=longest)
    assert sagaz.sagas.read_approval(token).key == longest
    assert len(token) < 4_000


def test_one_bit_changed_anywhere_makes_it_no_token(shop):
    _, sagaz = shop
    sagas = sagaz.sagas
    token = sagas.approval_token("approval", saga_id="run-1").encode()
    assert isinstance(sagas.read_approval(token.decode()), Approval)
    for place in range(len(token)):
        for bit in range(8):
            changed = bytearray(token)
            changed[place] ^= 1 << bit
            with pytest.raises(ApprovalInvalid):
                sagas.read_approval(changed.decode("latin-1"))


def test_another_text_for_the_same_signature_is_no_token(shop):
    _, sagaz = shop
    token = sagaz.sagas.approval_token("approval", saga_id="run-1")
    for last in set(f"{ascii_letters}{digits}-_") - {token[-1]}:
        with pytest.raises(ApprovalInvalid):
            sagaz.sagas.read_approval(token[:-1] + last)


def test_what_the_same_secret_has_signed_for_another_purpose_is_no_approval(shop):
    app, sagaz = shop
    cookie = SecureCookieSessionInterface().get_signing_serializer(app)
    how = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
    other = URLSafeTimedSerializer([SECRET], salt="something else", signer_kwargs=how)
    values = ["approval", "run-1", None, "", 4e9]
    for token in (
        cookie.dumps({"user": 1}),
        cookie.dumps(values),
        other.dumps(values),
        "",
        ".",
        "a.b.c",
        "\0",
        "\ud800",
    ):
        with pytest.raises(ApprovalInvalid):
            sagaz.sagas.read_approval(token)


def test_a_token_expires(shop):
    _, sagaz = shop
    saga_id = started(sagaz)
    over = sagaz.sagas.signer().sign(["approval", saga_id, None, "", 1.0])
    with pytest.raises(ApprovalExpired):
        sagaz.sagas.decide_approval_sync(over, YES, by="mia")
    runtime = sagaz._runtime()
    assert runtime.call(lambda: runtime.store.find_signals(SignalFilter(state=None))) == []


def test_a_former_secret_verifies_as_long_as_it_is_a_fallback(shop):
    app, sagaz = shop
    app.secret_key = FORMER
    former = sagaz.sagas.approval_token("approval", saga_id="run-1")
    app.secret_key = SECRET
    with pytest.raises(ApprovalInvalid):
        sagaz.sagas.read_approval(former)
    app.config["SECRET_KEY_FALLBACKS"] = [FORMER]
    assert sagaz.sagas.read_approval(former).saga_id == "run-1"
    newer = sagaz.sagas.approval_token("approval", saga_id="run-2")
    app.config["SECRET_KEY_FALLBACKS"] = []
    assert sagaz.sagas.read_approval(newer).saga_id == "run-2"


def test_without_a_secret_the_error_says_what_to_set(shop):
    app, sagaz = shop
    app.secret_key = None
    with pytest.raises(SettingsError, match=r"SECRET_KEY.*token_urlsafe"):
        sagaz.sagas.approval_token("approval", saga_id="run-1")


def test_keys_of_their_own_are_used_if_they_are_given(make_app):
    app, sagaz = make_app(config={"SAGAZ_SIGNING_KEYS": "k" * 32})
    other, sagaz_too = make_app(config={"SAGAZ_SIGNING_KEYS": "k" * 32, "SECRET_KEY": SECRET})
    with app.app_context():
        token = sagaz.sagas.approval_token("approval", saga_id="run-1")
    with other.app_context():
        assert sagaz_too.sagas.read_approval(token).saga_id == "run-1"
