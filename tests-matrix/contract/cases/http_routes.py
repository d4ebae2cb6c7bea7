"""The routes about sagas: watched by those who may, decided about by those who may, and nothing told to others."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from contract.case import case, variants
from contract.site import Site
from sagaz_durable.http.routes import ROUTES as ALL
from support.answers import Answer, Ask
from support.http_asks import asks

OPERATOR, ADA, BOB = {"User": "operator-mia"}, {"User": "ada"}, {"User": "bob"}
ROUTES = tuple(
    f"{route.method} {route.path.removeprefix('<saga_id>').replace('<name>', 'paid')}" for route in ALL if route.path
)
"""All that are about one run, beneath its address."""


def problem(answer: Answer) -> tuple[int, str]:
    """The kind of a problem's document."""
    assert answer.header("content-type") == "application/problem+json", answer
    return answer.status, answer.json()["type"].rpartition("#")[2]


async def accepted(site: Site, saga: str = "order", context: Any = None, **headers: str) -> str:
    """Start a run, for ada, and return its address."""
    answer = await site.post(f"/accepted/{saga}", context or {"order": 5}, Owner="ada", **headers)
    assert answer.status == 202, answer.body
    return answer.header("location") or ""


async def waiting(site: Site) -> str:
    """Start a run that waits to be paid, and return its address when it does."""
    location = await accepted(site, "paid", {})
    await site.waiting(location.rpartition("/")[2])
    return location


@case("http", "deferred")
async def a_start_is_followed_at_the_address_that_it_was_answered_with(site: Site) -> None:
    answer = await site.post("/accepted/order", {"order": 5, "token": "t"}, Owner="ada")
    told = answer.json()
    assert (answer.status, told["saga"], told["location"]) == (202, "order", answer.header("location"))
    assert 1 <= int(answer.header("retry-after") or 0) <= 60
    await site.ended(told["saga_id"])
    shown = await site.get(told["location"], **ADA)
    document = shown.json()
    assert (shown.status, shown.header("content-type")) == (200, "application/json")
    assert (document["status"], document["owner"], document["context"]) == ("completed", "ada", {"order": 5})
    assert {(step["name"], step["state"]) for step in document["steps"]} == {("reserve", "done"), ("charge", "done"),
                                                                           ("ship", "done")}  # fmt: skip


@case("http", "deferred", "embedded_worker", worker=True)
async def a_client_that_prefers_to_wait_gets_the_result(site: Site) -> None:
    answer = await site.post("/accepted/order", {"order": 5}, Prefer="wait=5")
    assert (answer.status, answer.json()["status"], answer.header("preference-applied")) == (200, "completed", "wait=5")
    assert answer.json()["context"] == {"order": 5}


@case("http", "embedded_worker", "disconnect", worker=True)
async def a_client_that_leaves_while_it_waits_loses_nothing(site: Site) -> None:
    await site.post("/accepted/order", {"order": 5}, leave=True, Owner="ada", Prefer="wait=5")
    [run] = await site.all_ended()
    assert (run.status, run.owner) == ("completed", "ada")
    assert (await site.get(f"/sagas/{run.saga_id}", **ADA)).json()["status"] == "completed"


@case("http", "deferred")
async def a_client_that_need_not_wait_does_not(site: Site) -> None:
    answer = await site.post("/accepted/paid", {}, Prefer="respond-async")
    assert (answer.status, answer.header("preference-applied")) == (202, "respond-async")


@case("http", "deferred")
async def somebody_elses_run_answers_as_one_that_is_not_there(site: Site) -> None:
    location = await waiting(site)
    for route in ROUTES:
        method, _, path = route.partition(" ")
        for body in (b"", b'{"reason": "x"}', b"{"):
            answers = [
                await site.ask(Ask(method, f"{start}{path}", body, BOB))
                for start in (location, location[:-4] + "none", f"/sagas/{'0' * 36}")
            ]
            plain = {re.sub(rb'"correlation_id": "[^"]*"', b"", answer.body) for answer in answers}
            assert {answer.status for answer in answers} == {404}
            assert len(plain) == 1
    assert (await site.run(location.rpartition("/")[2])).status == "waiting"


def alike(answer: Answer) -> tuple[Any, ...]:
    """An answer, without the id that each request has of its own."""
    headers = {
        name.lower(): value for name, value in answer.headers if name.lower() not in ("x-correlation-id", "date")
    }
    return answer.status, headers, re.sub(rb'"correlation_id": "[^"]*"', b"", answer.body)


@case("http", "deferred")
async def nothing_that_is_sent_tells_somebody_elses_run_from_none(site: Site) -> None:
    location, loop = await waiting(site), asyncio.get_running_loop()
    none = location[:-36] + "0" * 36

    def answer(ask: Ask) -> Answer:
        return asyncio.run_coroutine_threadsafe(site.ask(ask), loop).result(30)

    # Without making what fails smaller: each example is two requests to a whole application.
    @settings(
        max_examples=30, deadline=None, database=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck)
    )
    @given(st.data())
    def compare(data: st.DataObject) -> None:
        ask = data.draw(asks(BOB, location).filter(lambda ask: ask.path.startswith(location)))
        assert alike(answer(ask)) == alike(answer(replace(ask, path=ask.path.replace(location, none))))

    await asyncio.to_thread(compare)
    assert (await site.run(location.rpartition("/")[2])).status == "waiting"


@case("http", "deferred")
async def whoever_has_not_signed_in_is_told_nothing(site: Site) -> None:
    location = await waiting(site)
    for path in (location, "/sagas", "/sagas?owner=ada"):
        assert problem(await site.get(path)) == (404, "not-found")


@case("http", "deferred")
async def a_list_is_of_ones_own_runs_unless_one_may_see_all(site: Site) -> None:
    mine = [(await accepted(site)).rpartition("/")[2] for _ in range(3)]
    other = await site.start("deferred", Owner="bob")

    async def listed(path: str, **headers: str) -> list[str]:
        found = []
        query = path
        while query:
            page = (await site.get(query, **headers)).json()
            found += [run["saga_id"] for run in page["runs"]]
            query = page["next"] and f"{path}&cursor={page['next']}"
        return found

    assert await listed("/sagas?owner=ada&limit=2", **ADA) == mine[::-1]
    assert (await site.get("/sagas?limit=2", **ADA)).status == 404
    assert (await site.get("/sagas?owner=ada", **BOB)).status == 404
    assert await listed("/sagas?limit=3", **OPERATOR) == [other, *mine[::-1]]
    assert await listed("/sagas?status=failed&limit=3", **OPERATOR) == []


@case("http", "deferred")
async def a_reader_who_has_it_already_is_sent_nothing(site: Site) -> None:
    location = await waiting(site)
    for path in (location, f"{location}/graph"):
        first = await site.get(path, **ADA)
        again = await site.get(path, **ADA, If_None_Match=first.header("etag") or "")
        assert (again.status, again.body, again.header("etag")) == (304, b"", first.header("etag"))


@case("http", "deferred")
async def of_two_operators_with_one_version_one_decides(site: Site) -> None:
    location = await waiting(site)
    etag = (await site.get(location, **OPERATOR)).header("etag") or ""
    deciding = (
        site.post(f"{location}/cancel", {"reason": f"{n}"}, User=f"operator-{n}", If_Match=etag) for n in range(4)
    )
    answers = await asyncio.gather(*deciding)
    assert sorted(answer.status for answer in answers) == [200, 412, 412, 412]
    assert {problem(answer) for answer in answers if answer.status != 200} == {(412, "run-changed")}
    saga_id = location.rpartition("/")[2]
    [note] = await site.driver.ask(lambda store: store.load_audit(saga_id))
    assert (note.action, note.actor) == ("cancel", f"operator-{note.reason}@shop.example")
    assert (await site.ended(saga_id)).status == "rolled_back"


@case("http", "deferred")
async def a_signal_over_http_has_its_run_go_on(site: Site) -> None:
    location = await waiting(site)
    answer = await site.post(f"{location}/signal/paid", {"payload": {"amount": 7}, "reason": "in cash"}, **OPERATOR)
    assert (answer.status, answer.json()["action"]) == (200, "signal")
    saga_id = location.rpartition("/")[2]
    assert (await site.ended(saga_id)).status == "completed"
    [note] = await site.driver.ask(lambda store: store.load_audit(saga_id))
    assert (note.action, note.actor, note.reason) == ("signal", "operator-mia@shop.example", "in cash")


@case("http", "deferred")
async def a_decision_that_a_run_does_not_take_is_refused_with_why(site: Site) -> None:
    location = await accepted(site)
    await site.ended(location.rpartition("/")[2])
    answer = await site.post(f"{location}/cancel", {}, **OPERATOR)
    assert problem(answer) == (409, "decision-refused")
    assert "completed" in answer.json()["detail"]


@case("http", "deferred")
async def an_exceptions_text_is_told_to_nobody(site: Site) -> None:
    location = await accepted(site, context={"order": 5, "fail": "charge"})
    await site.ended(location.rpartition("/")[2])
    shown = await site.get(location, **ADA)
    assert shown.json()["error"]["type"].endswith("#run-rolled-back")
    assert b"declined" not in shown.body


@variants(
    other_site=({"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"}, b"{}", (403, "cross-site-request")),
    no_json=({"Content-Type": "text/plain"}, b"{}", (415, "unsupported-media-type")),
    cut=({}, b"{", (422, "invalid-input")),
    deep=({}, b"[" * 100_000, (422, "invalid-input")),
    not_unicode=({}, b"\xff", (422, "invalid-input")),
    unknown=({}, b'{"reasn": "x"}', (422, "invalid-input")),
    long=({}, b" " * 3_000_000, (413, "body-too-large")),
    old=({"If-Match": '"0"'}, b"{}", (412, "run-changed")),
)
@case("http", "deferred")
async def what_cannot_be_meant_changes_nothing(
    site: Site, headers: dict[str, str], body: bytes, expected: tuple[int, str]
) -> None:
    location = await waiting(site)
    answer = await site.ask(Ask("POST", f"{location}/cancel", body, {**OPERATOR, **headers}))
    assert problem(answer) == expected
    assert (await site.run(location.rpartition("/")[2])).status == "waiting"


@case("http", "deferred")
async def a_run_is_drawn_for_browsers_and_as_text(site: Site) -> None:
    location = await waiting(site)
    drawn = {form: await site.get(f"{location}/graph{form}", **ADA) for form in ("", ".svg", ".mmd")}
    assert drawn[""].body == drawn[".svg"].body
    assert drawn[".svg"].body.startswith(b"<svg ")
    assert drawn[".mmd"].body.startswith(b"flowchart TD\n")
    text = await site.get(f"{location}/graph", **ADA, Accept="text/vnd.mermaid")
    assert (text.body, text.header("vary")) == (drawn[".mmd"].body, "Accept")


@case("http")
async def probes_answer_everybody(site: Site) -> None:
    for probe in ("readiness", "liveness"):
        answer = await site.get(f"/health/{probe}")
        assert (answer.status, answer.json()) == (200, {"status": "ok"})


@variants(
    query=("/sagas?limit=%00%0d%0a%1b[2J", {}), cursor=("/sagas?cursor=%1b%5b", {}), name=("/sagas?%1b=1", {}),
    path=("/sagas/%1b%5b2J%0d%0aX:y", {}), tag=("/sagas/x", {"If-None-Match": "\x1b[2J"}),
    correlation=("/sagas/x", {"X-Correlation-ID": "\x1b[2J"}), latin=("/sagas/\xff", {"Accept": "\xff\xfe"}),
)  # fmt: skip
@case("http")
async def nothing_that_was_sent_moves_a_terminal(site: Site, path: str, headers: dict[str, str]) -> None:
    answer = await site.ask(Ask("GET", path, b"", {**OPERATOR, **headers}))
    assert 400 <= answer.status < 500, answer
    sent = answer.body + repr(answer.headers).encode()
    assert not set(sent) & set(range(32)) - {10}
