"""Who may read and decide: nobody, until the application says so; and nobody learns what is not his."""

from __future__ import annotations

import re

import pytest
from http_shop import ask, read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagaz_durable.http.api import SagaApi
from sagaz_durable.http.rules import ApiRules
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.errors import SettingsError, UsageError

ROUTES = {
    "read": lambda api, request, saga_id: api.show_run(request, saga_id),
    "graph": lambda api, request, saga_id: api.draw_run(request, saga_id),
    "cancel": lambda api, request, saga_id: api.decide(request, saga_id, "cancel"),
    "retry": lambda api, request, saga_id: api.decide(request, saga_id, "retry"),
    "resolve": lambda api, request, saga_id: api.decide(request, saga_id, "resolve"),
    "run-now": lambda api, request, saga_id: api.decide(request, saga_id, "run-now"),
    "signal": lambda api, request, saga_id: api.send_signal(request, saga_id, "paid"),
}


def plain(answer):
    """The answer, without the id that each request has of its own."""
    return answer.status, dict(answer.headers), re.sub(rb'"correlation_id": "[^"]*"', b"", answer.body)


@pytest.mark.parametrize("verb", ROUTES)
async def test_nobody_may_do_anything_until_the_application_says_who(shop, verb):
    saga_id = await shop.started("waiting", waits=True)
    api = SagaApi(shop.runtime, ApiRules())
    assert (await ROUTES[verb](api, ask("POST"), saga_id)).status == 404
    assert (await api.list_runs(ask())).status == 404
    assert await shop.status(saga_id) == "waiting"


BODIES = st.none() | st.binary(max_size=20) | st.just({"reason": "x"}) | st.just({"settled": "completed"})
NAMES = st.sampled_from(["If-Match", "If-None-Match", "Origin", "Content-Type", "Sec-Fetch-Site", "Prefer"])
HEADERS = st.dictionaries(NAMES, st.sampled_from(["*", '"1"', "text/plain", "null", "same-origin"]))
UNKNOWN = st.sampled_from(["no-such-run", "0" * 36, "x" * 300, "\x00", "\ud800", "", "run-now"])


@pytest.mark.parametrize("verb", ROUTES)
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(body=BODIES, headers=HEADERS, unknown=UNKNOWN)
async def test_somebody_elses_run_answers_as_one_that_is_not_there(shop, verb, body, headers, unknown):
    """Whatever is sent with it."""
    [run] = await shop.runtime.store.find(RunFilter()) or [None]
    saga_id = await shop.started("waiting", waits=True) if run is None else run.saga_id
    shop.rules["authorize"] = lambda request, verb, subject: subject.saga_id != saga_id
    answers = [await ROUTES[verb](shop.api, ask("POST", body=body, headers=headers), one) for one in (saga_id, unknown)]
    assert plain(answers[0]) == plain(answers[1])
    assert await shop.status(saga_id) == "waiting"


async def test_the_hook_is_told_the_request_the_verb_and_whose_run_it_is(shop):
    asked = []
    saga_id = await shop.started("waiting", waits=True)
    shop.rules["authorize"] = lambda *given: bool(asked.append(given))
    for verb, route in ROUTES.items():
        await route(shop.api, ask("POST", by="max"), saga_id)
        request, asked_verb, subject = asked.pop()
        assert (request, asked_verb, subject.saga_id, subject.saga_name) == (
            "max", "read" if verb == "graph" else verb, saga_id, "order",
        )  # fmt: skip
        assert subject.signal == ("paid" if verb == "signal" else None)


@pytest.mark.parametrize("granted", [1, "yes", None, object(), [True]])
async def test_nothing_but_true_permits(shop, granted):
    saga_id = await shop.started()
    shop.rules["authorize"] = lambda *_: granted
    assert (await shop.api.show_run(ask(), saga_id)).status == 404


async def test_a_hook_may_be_asynchronous(shop):
    saga_id = await shop.started("waiting", waits=True)

    async def authorize(request, verb, subject):
        return request == "mia"

    async def actor(request):
        return f"{request}@shop.example"

    shop.rules |= {"authorize": authorize, "actor": actor}
    assert (await shop.api.decide(ask("POST", by="max"), saga_id, "cancel")).status == 404
    assert (await shop.api.decide(ask("POST"), saga_id, "cancel")).status == 200
    assert [note.actor for note in await shop.runtime.store.load_audit(saga_id)] == ["mia@shop.example"]


async def test_a_list_has_only_runs_that_may_be_read(shop):
    made = [await shop.started() for _ in range(3)]
    shop.rules["authorize"] = lambda request, verb, subject: verb == "list" or subject.saga_id == made[1]
    page = read(await shop.api.list_runs(ask()))
    assert [run["saga_id"] for run in page["runs"]] == [made[1]]


async def test_whoever_decides_must_have_a_name(shop):
    saga_id = await shop.started("waiting", waits=True)
    for named in (None, "", " ", 7):
        shop.rules["actor"] = lambda request, named=named: named
        with pytest.raises(UsageError, match="names nobody"):
            await shop.api.decide(ask("POST"), saga_id, "cancel")
    shop.rules["actor"] = None
    assert (await shop.api.decide(ask("POST"), saga_id, "cancel")).status == 404


async def test_a_name_that_moves_terminals_is_kept_as_text(shop):
    saga_id = await shop.started("waiting", waits=True)
    shop.rules["actor"] = lambda request: "mia\x1b[2J" + "x" * 300
    await shop.api.decide(ask("POST"), saga_id, "cancel")
    [note] = await shop.runtime.store.load_audit(saga_id)
    assert note.actor.startswith("mia\\x1b[2J")
    assert len(note.actor) == 255


@pytest.mark.parametrize(
    "wrong",
    [
        {"authorize": True}, {"actor": "mia"}, {"shows": "order_id"}, {"shows": [1]}, {"longest_wait": 61},
        {"trusted_origins": ["shop.example"]}, {"trusted_origins": ["https://shop.example/"]},
        {"trusted_origins": ["*"]}, {"trusted_origins": ["https://["]}, {"shows": 5}, {"shows": b"order_id"},
        {"trusted_origins": None},
    ],
)  # fmt: skip
def test_rules_that_cannot_be_meant_are_refused_at_set_up(wrong):
    with pytest.raises(SettingsError, match=next(iter(wrong))):
        ApiRules(**wrong)


def test_one_origin_that_was_meant_as_a_list_is_named_whole():
    with pytest.raises(SettingsError, match=r"trusted_origins='https://shop\.example': expected a list of origins"):
        ApiRules(trusted_origins="https://shop.example")


def test_lists_of_the_rules_may_be_any_iterables():
    rules = ApiRules(shows=(key for key in ("a", "b")), trusted_origins=iter(["HTTPS://shop.example"]))
    assert (rules.shows, rules.trusted_origins) == (("a", "b"), ("https://shop.example",))


async def test_whoever_may_see_his_own_runs_sees_those_and_no_others(shop):
    """As most applications write it: a run is its owner's, and so is the list of his."""
    shop.rules["authorize"] = lambda request, verb, subject: verb in ("list", "read") and subject.owner == request
    runs = {owner: await shop.started(owner=owner) for owner in ("mia", "max", None)}
    for owner, saga_id in runs.items():
        assert (await shop.api.show_run(ask(by="mia"), saga_id)).status == (200 if owner == "mia" else 404)
    [mine] = read(await shop.api.list_runs(ask(query="owner=mia")))["runs"]
    assert (mine["saga_id"], mine["owner"]) == (runs["mia"], "mia")
    for query in ("", "owner=max", "saga=order", f"owner=max&saga=order&cursor={mine['saga_id']}"):
        assert (await shop.api.list_runs(ask(query=query))).status in (404, 422)
