"""What an application's own views let out, with the problem handlers, and with handlers of the application's own."""

from __future__ import annotations

import pytest
from flask import Blueprint

from flask_sagaz import (
    IdempotencyConflict,
    InvalidInput,
    RunNotFound,
    SagazError,
    StoreUnavailable,
    UsageError,
)

ERRORS = {
    "input": InvalidInput("the amount is missing"),
    "conflict": IdempotencyConflict("the key is another's"),
    "away": StoreUnavailable("db.internal does not answer"),
    "code": UsageError("db.internal is called wrongly"),
    "other": ZeroDivisionError("by zero"),
}


@pytest.fixture
def shop(make_app):
    """An application with a view of its own, and one of a blueprint's, that raise what they are asked to."""

    def shop():
        app, sagaz = make_app()
        api = Blueprint("api", __name__, url_prefix="/api")

        def fail(name):
            raise ERRORS[name]

        app.add_url_rule("/fail/<name>", view_func=fail)
        api.add_url_rule("/fail/<name>", view_func=fail)
        return app, api, sagaz

    return shop


def told(app, path):
    answer = app.test_client().get(path)
    return answer.status_code, answer.mimetype


PROBLEM = "application/problem+json"


def test_what_a_view_lets_out_is_a_problem_document_with_the_requests_id(shop):
    app, _, sagaz = shop()
    sagaz.add_problem_handlers(app)
    answer = app.test_client().get("/fail/input", headers={"X-Correlation-ID": "c-1"})
    assert (answer.status_code, answer.mimetype, answer.json["correlation_id"]) == (422, PROBLEM, "c-1")
    assert answer.json["detail"] == "the amount is missing"
    assert answer.headers["X-Correlation-ID"] == "c-1"
    away = app.test_client().get("/fail/away")
    assert (away.status_code, away.mimetype, away.headers["Retry-After"]) == (503, PROBLEM, "5")
    assert "db.internal" not in away.text


def test_a_blueprints_views_alone_may_have_them(shop):
    app, api, sagaz = shop()
    sagaz.add_problem_handlers(api)
    app.register_blueprint(api)
    assert told(app, "/api/fail/input") == (422, PROBLEM)
    assert told(app, "/fail/input") == (500, "text/html")


@pytest.mark.parametrize("first", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("kind", [SagazError, InvalidInput, IdempotencyConflict])
def test_the_applications_own_handlers_stay_whenever_they_are_registered(shop, kind, first):
    app, _, sagaz = shop()
    if not first:
        sagaz.add_problem_handlers(app)
    app.register_error_handler(kind, lambda error: (type(error).__name__, 418))
    if first:
        sagaz.add_problem_handlers(app)
    assert app.test_client().get("/fail/conflict").text == "IdempotencyConflict"


def test_a_blueprints_own_handler_comes_first(shop):
    app, api, sagaz = shop()
    sagaz.add_problem_handlers(app)
    api.register_error_handler(Exception, lambda error: ("the blueprint's", 418))
    app.register_blueprint(api)
    assert told(app, "/api/fail/input") == (418, "text/html")
    assert told(app, "/fail/input") == (422, PROBLEM)


def test_what_the_application_got_wrong_is_answered_as_without_them(shop, caplog):
    app, _, sagaz = shop()
    sagaz.add_problem_handlers(app)
    assert told(app, "/fail/code") == (500, "text/html")
    assert "db.internal is called wrongly" in caplog.text
    app.testing = True
    with pytest.raises(UsageError):
        app.test_client().get("/fail/code")


@pytest.mark.parametrize("kind", [Exception, TypeError])
def test_an_application_that_handles_all_exceptions_gets_its_own_mistakes(shop, kind):
    app, _, sagaz = shop()
    sagaz.add_problem_handlers(app)
    app.register_error_handler(kind, lambda error: (f"seen: {type(error).__name__}", 500))
    assert app.test_client().get("/fail/code").text == "seen: UsageError"
    assert told(app, "/fail/input") == (422, PROBLEM)


def test_a_run_that_is_not_there_is_not_found(shop):
    app, _, sagaz = shop()
    sagaz.add_problem_handlers(app)

    @app.get("/orders/<saga_id>")
    def show(saga_id):
        try:
            return {"status": sagaz.status(saga_id).status}
        except RunNotFound as error:
            error.add_note("let out")
            raise

    assert told(app, "/orders/none") == (404, PROBLEM)
