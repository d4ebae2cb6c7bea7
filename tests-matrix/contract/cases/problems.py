"""What an application's own endpoints let out is a problem document: for clients to act on, and of nothing inside."""

from __future__ import annotations

from contract.case import case, variants
from contract.cases.http_routes import problem
from contract.site import Site


@variants(list=([1],), key=({"saga_id": "x"},), number=({"order": 1e16},))
@case("http", "deferred")
async def what_cannot_be_recorded_is_told_as_a_problem(site: Site, context: object) -> None:
    answer = await site.post("/unhandled/order", context, X_Correlation_ID="c-1")
    assert problem(answer) == (422, "invalid-input")
    told = answer.json()
    assert (told["correlation_id"], answer.header("x-correlation-id")) == ("c-1", "c-1")
    assert told["detail"]
    assert await site.runs() == []


@case("http", "deferred")
async def a_key_that_stands_for_something_else_is_told_as_a_problem(site: Site) -> None:
    first = await site.post("/unhandled/order", {"order": 1}, Idempotency_Key="basket-3")
    assert first.status == 200, first.body
    conflict = await site.post("/unhandled/order", {"order": 2}, Idempotency_Key="basket-3")
    assert problem(conflict) == (422, "invalid-input")
    [run] = await site.runs()
    assert run.saga_id == first.json()["saga_id"]


NO_FAULT = {
    "StoreUnavailable": (503, "store-unavailable", "5"),
    "StoreNotMigrated": (503, "store-unavailable", "5"),
    "Overloaded": (503, "overloaded", "5"),
    "RuntimeNotOpen": (503, "not-open", "5"),
    "RunInterrupted": (503, "run-interrupted", "5"),
    "RunInProgress": (409, "run-in-progress", "5"),
    "RunFailed": (409, "run-unsuccessful", None),
    "DeadlinePassed": (409, "run-unsuccessful", None),
    "SignalRefused": (409, "decision-refused", None),
    "RunNotFound": (404, "not-found", None),
}


@case("http")
async def what_is_no_fault_of_the_applications_is_told_without_what_is_inside(site: Site) -> None:
    for name, expected in NO_FAULT.items():
        answer = await site.post(f"/unhandled/order?then={name}", {}, X_Correlation_ID="c-1")
        assert (*problem(answer), answer.header("retry-after")) == expected, name
        assert answer.json()["correlation_id"] == "c-1"
        assert b"db.internal" not in answer.body


@case("http")
async def what_a_client_got_wrong_is_told_with_why(site: Site) -> None:
    for name in ("RunErased", "IdempotencyConflict", "ApprovalExpired"):
        answer = await site.post(f"/unhandled/order?then={name}", {})
        assert (problem(answer), answer.json()["detail"]) == ((422, "invalid-input"), "db.internal")


@case("http")
async def a_run_that_waits_is_accepted_and_no_problem(site: Site) -> None:
    answer = await site.post("/unhandled/order?then=RunWaiting", {})
    assert (answer.status, answer.json()) == (202, {"saga_id": "o-1", "status": "waiting"})


@case("http")
async def what_the_application_got_wrong_stays_its_own_failure(site: Site) -> None:
    for name in ("UsageError", "SettingsError", "SagaDefinitionError"):
        answer = await site.post(f"/unhandled/order?then={name}", {})
        assert answer.status == 500
        assert b"db.internal" not in answer.body
        assert answer.header("content-type") != "application/problem+json"
