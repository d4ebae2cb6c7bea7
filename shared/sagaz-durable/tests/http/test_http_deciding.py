"""Decisions over HTTP: who and why are kept, and nothing is decided that was not meant."""

from __future__ import annotations

import asyncio
import json

import pytest
from http_shop import ask, read

from sagaz_durable.http.messages import HttpRequest


def kind(answer) -> tuple[int, str]:
    return answer.status, read(answer)["type"].rpartition("#")[2]


async def audit(shop, saga_id):
    return [(note.action, note.actor, note.reason) for note in await shop.runtime.store.load_audit(saga_id)]


async def test_a_decision_takes_effect_and_who_and_why_are_kept(shop):
    saga_id = await shop.started("waiting", waits=True)
    answer = await shop.api.decide(ask("POST", body={"reason": "asked to"}), saga_id, "cancel")
    assert (answer.status, read(answer)["action"], read(answer)["status"]) == (200, "cancel", "compensating")
    await shop.until(saga_id, "rolled_back")
    assert await audit(shop, saga_id) == [("cancel", "mia", "asked to")]


async def test_a_signal_reaches_the_run_that_waits(shop):
    saga_id = await shop.started("waiting", waits=True)
    body = {"payload": {"amount": 7}, "reason": "paid in cash"}
    assert (await shop.api.send_signal(ask("POST", body=body), saga_id, "paid")).status == 200
    await shop.until(saga_id, "completed")
    assert await audit(shop, saga_id) == [("signal", "mia", "paid in cash")]
    other = {"payload": {"amount": 8}}
    assert kind(await shop.api.send_signal(ask("POST", body=other), saga_id, "late")) == (409, "decision-refused")


async def test_a_decision_that_a_run_does_not_take_is_refused_with_why(shop):
    saga_id = await shop.started()
    for decision, body in (("retry", None), ("cancel", {}), ("run-now", {}), ("resolve", RESOLVED)):
        answer = await shop.api.decide(ask("POST", body=body), saga_id, decision)
        assert kind(answer) == (409, "decision-refused")
        assert "completed" in read(answer)["detail"]
    assert await audit(shop, saga_id) == []


RESOLVED = {"settled": "completed", "reason": "by hand"}


async def test_of_two_decisions_for_one_version_one_takes_effect(shop):
    saga_id = await shop.started("waiting", waits=True)
    known = {"if-match": (await shop.api.show_run(ask(), saga_id)).headers["ETag"]}
    deciding = (shop.api.decide(ask("POST", headers=known, by=by), saga_id, "cancel") for by in ("mia", "max"))
    answers = sorted([await one for one in deciding], key=lambda answer: answer.status)
    assert answers[0].status == 200
    assert kind(answers[1]) == (412, "run-changed")
    assert len(await audit(shop, saga_id)) == 1


@pytest.mark.parametrize("given", ['"0"', "W/{}", '"x"', "", "nonsense", '"9999999999999999999999"', '"-1"'])
async def test_a_decision_for_another_version_changes_nothing(shop, given):
    saga_id = await shop.started("waiting", waits=True)
    etag = (await shop.api.show_run(ask(), saga_id)).headers["ETag"]
    answer = await shop.api.decide(ask("POST", headers={"If-Match": given.format(etag)}), saga_id, "cancel")
    assert kind(answer) == (412, "run-changed")
    assert await shop.status(saga_id) == "waiting"


async def test_a_decision_may_name_the_version_that_a_list_tells(shop):
    saga_id = await shop.started("waiting", waits=True)
    [listed] = read(await shop.api.list_runs(ask()))["runs"]
    known = {"If-Match": f'"{listed["version"]}"'}
    assert (await shop.api.decide(ask("POST", headers=known), saga_id, "cancel")).status == 200


async def test_the_tag_of_a_picture_decides_nothing(shop):
    saga_id = await shop.started("waiting", waits=True)
    known = {"If-Match": (await shop.api.draw_run(ask(), saga_id)).headers["ETag"]}
    assert kind(await shop.api.decide(ask("POST", headers=known), saga_id, "cancel")) == (412, "run-changed")


async def test_a_decision_is_for_the_version_whichever_steps_the_other_release_has(shop):
    saga_id = await shop.started("waiting", waits=True)
    etag = (await shop.api.show_run(ask(), saga_id)).headers["ETag"]
    known = {"If-Match": f'{etag.partition("-")[0]}-00000000"'}
    assert (await shop.api.decide(ask("POST", headers=known), saga_id, "cancel")).status == 200


@pytest.mark.parametrize("given", ["*", '"0", {}', None])
async def test_a_decision_may_be_for_whatever_version_there_is(shop, given):
    saga_id = await shop.started("waiting", waits=True)
    etag = (await shop.api.show_run(ask(), saga_id)).headers["ETag"]
    headers = {} if given is None else {"If-Match": given.format(etag)}
    assert (await shop.api.decide(ask("POST", headers=headers), saga_id, "cancel")).status == 200


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"{", (422, "invalid-input")),
        (b"[]", (422, "invalid-input")),
        (b"\xff", (422, "invalid-input")),
        (b"[" * 100_000, (422, "invalid-input")),
        (b'{"reason": ' + b'{"a":' * 65 + b"1" + b"}" * 66, (422, "invalid-input")),
        ({"reason": 7}, (422, "invalid-input")),
        ({"reason": "x" * 2_001}, (422, "invalid-input")),
        ({"reasons": "x"}, (422, "invalid-input")),
        ({"settled": "completed"}, (422, "invalid-input")),
        ({"settled": "completed", "reason": " "}, (422, "invalid-input")),
        ({"settled": "done", "reason": "x"}, (422, "invalid-input")),
        (b" " * 2_000_000, (413, "body-too-large")),
    ],
)
async def test_a_body_that_cannot_be_meant_is_refused(shop, body, expected):
    saga_id = await shop.started()
    assert kind(await shop.api.decide(ask("POST", body=body), saga_id, "resolve")) == expected


async def test_a_body_that_nests_too_deeply_is_refused_before_it_is_read(shop):
    saga_id = await shop.started()
    for body in (b"[" * 100_000, b'{"reason": ' + b'{"a":' * 65 + b"1" + b"}" * 66):
        answer = await shop.api.decide(ask("POST", body=body), saga_id, "cancel")
        assert "nests more than 64 levels" in read(answer)["detail"]


async def test_brackets_within_texts_are_not_taken_for_nesting(shop):
    saga_id = await shop.started("waiting", waits=True)
    body = {"reason": '[{"\\' * 100}
    assert (await shop.api.decide(ask("POST", body=body), saga_id, "cancel")).status == 200


async def test_a_body_that_is_no_json_by_its_type_is_refused(shop):
    saga_id = await shop.started("waiting", waits=True)
    for media in ("text/plain", "application/x-www-form-urlencoded", ""):
        answer = await shop.api.decide(ask("POST", body={}, headers={"content-type": media}), saga_id, "cancel")
        assert kind(answer) == (415, "unsupported-media-type")
    typed = ask("POST", body={}, headers={"content-type": "Application/JSON; charset=utf-8"})
    assert (await shop.api.decide(typed, saga_id, "cancel")).status == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://shop.example.evil.example"},
        {"Origin": "http://["},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "https://blog.shop.example"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://shop.example"},
    ],
)
async def test_a_page_of_another_site_decides_nothing(shop, headers):
    saga_id = await shop.started("waiting", waits=True)
    for answer in (
        await shop.api.decide(ask("POST", headers=headers), saga_id, "cancel"),
        await shop.api.send_signal(ask("POST", headers=headers), saga_id, "paid"),
    ):
        assert kind(answer) == (403, "cross-site-request")
    assert await shop.status(saga_id) == "waiting"


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Origin": "https://shop.example"},
        {"Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://partner.example"},
    ],
)
async def test_own_pages_trusted_ones_and_programs_may_decide(shop, headers):
    shop.rules["trusted_origins"] = ["https://partner.example"]
    saga_id = await shop.started("waiting", waits=True)
    assert (await shop.api.decide(ask("POST", headers=headers), saga_id, "cancel")).status == 200


async def test_two_operators_at_once_with_one_version_decide_once(shop):
    saga_id = await shop.started("waiting", waits=True)
    known = {"if-match": (await shop.api.show_run(ask(), saga_id)).headers["ETag"]}
    answers = await asyncio.gather(
        *(shop.api.decide(ask("POST", headers=known, by=f"m{n}"), saga_id, "cancel") for n in range(8))
    )
    assert sorted(answer.status for answer in answers) == [200] + [412] * 7


@pytest.mark.parametrize("route", ["cancel", "retry", "run-now", "resolve", "signal"])
async def test_what_changes_after_it_was_compared_is_not_decided_about_either(shop, route):
    saga_id = await shop.started("waiting", waits=True)
    known = {"if-match": (await shop.api.show_run(ask(), saga_id)).headers["ETag"]}

    async def somebody_was_quicker(request):
        await shop.sagas.cancel(saga_id, by="max")
        return "mia"

    shop.rules["actor"] = somebody_was_quicker
    request = ask("POST", headers=known, body=RESOLVED if route == "resolve" else {})
    if route == "signal":
        answer = await shop.api.send_signal(request, saga_id, "paid")
    else:
        answer = await shop.api.decide(request, saga_id, route)
    assert kind(answer) == (412, "run-changed")
    assert [note[:2] for note in await audit(shop, saga_id)] == [("cancel", "max")]


async def test_a_signals_id_and_payload_are_checked_as_everywhere(shop):
    saga_id = await shop.started("waiting", waits=True)
    for body in ({"payload": []}, {"payload": {"x": 2**80}}, {"signal_id": "\x00"}, {"payload": {}, "key": "pi_1"}):
        assert (await shop.api.send_signal(ask("POST", body=body), saga_id, "paid")).status == 422
    assert (await shop.api.send_signal(ask("POST"), saga_id, "\x1b[2J")).status == 422


async def test_nothing_of_the_text_that_was_sent_moves_a_terminal(shop):
    saga_id = await shop.started()
    body = json.dumps({"\x1b[2J": 1}).encode()
    request = HttpRequest("POST", "/", "", (("content-type", "application/json"),), body, "mia")
    assert b"\x1b" not in (await shop.api.decide(request, saga_id, "cancel")).body
