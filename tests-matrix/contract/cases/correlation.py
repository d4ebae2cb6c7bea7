"""The correlation id: accepted, made, sent back, seen everywhere during the request, and gone after it."""

from __future__ import annotations

import asyncio
import logging

from contract.case import case, variants
from contract.site import Site
from sagaz_integration_core.context import correlation as context

HEADER = "X-Correlation-ID"


@case()
async def a_sent_id_is_seen_in_the_request_and_sent_back(site: Site) -> None:
    answer = await site.get("/whoami", X_Correlation_ID="client-7.a_~:/+=@")
    assert answer.header(HEADER) == "client-7.a_~:/+=@"
    assert answer.json() == {"ours": "client-7.a_~:/+=@", "sagaz": "client-7.a_~:/+=@"}


@case()
async def a_request_without_an_id_gets_a_fresh_one(site: Site) -> None:
    answers = [await site.get("/whoami") for _ in range(3)]
    ids = [answer.header(HEADER) for answer in answers]
    assert [answer.json()["ours"] for answer in answers] == ids
    assert len(set(ids)) == 3
    assert None not in ids


@variants(
    empty=("",),
    too_long=("x" * 129,),
    with_a_blank=("two words",),
    with_a_line_feed_in_disguise=("a%0d%0aSet-Cookie: x=1\x0b",),
    with_markup=("<script>",),
    not_ascii=("caf\xe9",),
)
@case()
async def an_unsafe_id_is_replaced_and_never_sent_back(site: Site, unsafe: str) -> None:
    answer = await site.get("/whoami", X_Correlation_ID=unsafe)
    seen = answer.json()["ours"]
    assert answer.status == 200
    assert answer.header(HEADER) == seen != unsafe
    assert unsafe not in seen or not unsafe


@case()
async def the_longest_id_that_is_accepted_has_128_characters(site: Site) -> None:
    assert (await site.get("/whoami", X_Correlation_ID="x" * 128)).header(HEADER) == "x" * 128


@case("inline", "deferred")
async def the_id_goes_with_the_run_into_its_row_its_context_and_its_steps(site: Site) -> None:
    for kind in site.kinds:
        saga_id = await site.start(kind, X_Correlation_ID=f"for-{kind}")
        run = await site.ended(saga_id)
        assert run.correlation_id == f"for-{kind}"
        assert f'"correlation_id":"for-{kind}"' in run.context.replace(" ", "")
        assert {entry.correlation_id for entry in site.shop.ledger if entry.saga_id == saga_id} == {f"for-{kind}"}


@case("inline")
async def a_context_may_bring_a_correlation_id_of_its_own(site: Site) -> None:
    answer = await site.post("/inline/order", {"order": 1, "correlation_id": "mine"}, X_Correlation_ID="theirs")
    assert answer.json()["result"]["correlation_id"] == "mine"
    assert (await site.run(answer.json()["saga_id"])).correlation_id == "theirs"


@case("inline", "propagate", propagate=False)
async def the_id_can_be_kept_out_of_the_context(site: Site) -> None:
    answer = await site.post("/inline/order", {"order": 1}, X_Correlation_ID="apart")
    assert "correlation_id" not in answer.json()["result"]
    assert (await site.run(answer.json()["saga_id"])).correlation_id == "apart"


@case("header_name", options={"HEADER_NAME": "X-Request-ID"})
async def the_header_can_have_another_name(site: Site) -> None:
    answer = await site.get("/whoami", X_Request_ID="mine", X_Correlation_ID="not-this")
    assert (answer.header("X-Request-ID"), answer.header(HEADER)) == ("mine", None)
    assert answer.json()["ours"] == "mine"


@case()
async def concurrent_requests_keep_their_ids_apart(site: Site) -> None:
    answers = await asyncio.gather(*(site.get("/whoami", X_Correlation_ID=f"c-{n}") for n in range(25)))
    assert [answer.json() for answer in answers] == [{"ours": f"c-{n}", "sagaz": f"c-{n}"} for n in range(25)]


@case("streaming")
async def a_streamed_body_sees_the_id_to_its_end(site: Site) -> None:
    answers = await asyncio.gather(*(site.get("/stream", X_Correlation_ID=f"s-{n}") for n in range(5)))
    for n, answer in enumerate(answers):
        assert answer.header(HEADER) == f"s-{n}"
        assert answer.body.decode().split() == [f"s-{n}"] * 3
    assert context.correlation_id() is None


@case()
async def an_exception_does_not_leave_the_id_behind(site: Site) -> None:
    assert (await site.get("/boom", X_Correlation_ID="gone")).status == 500
    assert context.correlation_id() is None
    assert (await site.get("/whoami")).json()["ours"] != "gone"


@case()
async def an_unknown_path_is_answered_with_the_id_too(site: Site) -> None:
    answer = await site.get("/nowhere", X_Correlation_ID="lost")
    assert (answer.status, answer.header(HEADER)) == (404, "lost")


@case("websocket")
async def a_websocket_has_an_id_too(site: Site) -> None:
    from support.answers import Ask

    accepted, [seen] = await site.driver.websocket(Ask("GET", "/ws", headers={HEADER: "socket"}))
    assert seen == {"ours": "socket", "sagaz": "socket"}
    assert (HEADER.lower().encode(), b"socket") in [(name.lower(), value) for name, value in accepted["headers"]]


@case("inline", "deferred")
async def every_log_record_of_a_step_names_its_request_its_run_and_its_step(site: Site) -> None:
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.getLogger("contract.shop")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        saga_id = await site.start("deferred", X_Correlation_ID="logged")
        await site.ended(saga_id)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    told = [(r.correlation_id, r.saga_id, r.saga_name, r.step, r.attempt) for r in records]
    assert told == [("logged", saga_id, "order", step, 1) for step in ("reserve", "charge", "ship")]
