"""What is sent and cannot be kept: refused at the door, naming the path, with nothing written and nothing called."""

from __future__ import annotations

import json

from contract.case import case, variants
from contract.site import Site


def _nested(depth: int) -> str:
    return '{"a":' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


@variants(
    nan=('{"items":[{"price":1},{"price":NaN}]}', "items[1].price"),
    infinity=('{"price":Infinity}', "price"),
    minus_infinity=('{"price":-Infinity}', "price"),
    a_float_too_large_for_any=('{"price":1e999}', "price"),
    a_float_that_postgresql_makes_an_int=('{"price":1e16}', "price"),
    negative_zero=('{"price":-0.0}', "price"),
    a_whole_number_beyond_64_bits=('{"n":[0,9223372036854775808]}', "n[1]"),
    a_whole_number_below_64_bits=('{"n":-9223372036854775809}', "n"),
    a_nul_character=('{"name":"a\\u0000b"}', "name"),
    a_lone_surrogate=('{"name":"\\ud800"}', "name"),
    a_nul_character_in_a_key=('{"a":{"b\\u0000":1}}', "a"),
    a_lone_surrogate_in_a_key=('{"a":{"\\udfff":1}}', "a"),
    an_endless_key=(json.dumps({"a": {"k" * 16_384: 1}}), "a"),
    too_deep_a_nesting=(_nested(31), "a"),
    the_key_saga_id=('{"saga_id":"somebody-elses"}', "saga_id"),
    a_key_with_two_underscores=('{"__charge_completed":true}', "__charge_completed"),
)
@case()
async def a_value_that_some_store_would_bend_is_refused_naming_its_path(site: Site, raw: str, path: str) -> None:
    for kind in site.kinds:
        answer = await site.post(f"/{kind}/order", raw=raw.encode())
        body = await site.expect_refusal(answer, "ContextValueError", 422)
        assert body["path"].startswith(path), body


@variants(a_list=("[1]",), a_string=('"x"',), a_number=("3",), null=("null",))
@case()
async def a_context_that_is_no_object_is_refused(site: Site, raw: str) -> None:
    for kind in site.kinds:
        answer = await site.post(f"/{kind}/order", raw=raw.encode())
        await site.expect_refusal(answer, "ContextValueError", 422)


@case()
async def the_deepest_nesting_that_is_accepted_works(site: Site) -> None:
    for kind in site.kinds:
        answer = await site.post(f"/{kind}/parcel", raw=_nested(30).encode())
        assert answer.status in (200, 202)
    assert {run.status for run in await site.all_ended()} == {"completed"}


@case(options={"MAX_CONTEXT_BYTES": 1024})
async def a_context_that_is_too_large_is_refused_naming_the_setting(site: Site) -> None:
    for kind in site.kinds:
        answer = await site.post(f"/{kind}/order", {"note": "é" * 600})
        body = await site.expect_refusal(answer, "ContextValueError", 422)
        assert site.driver.setting.format("MAX_CONTEXT_BYTES") in body["message"]
        assert "1,024" in body["message"]


@case("inline", options={"MAX_CONTEXT_BYTES": 1024})
async def a_context_that_is_just_small_enough_is_accepted(site: Site) -> None:
    envelope = len(b'{"correlation_id":"c","note":""}')
    answer = await site.post("/inline/parcel", {"note": "x" * (1024 - envelope)}, X_Correlation_ID="c")
    assert answer.status == 200, answer.body


@case()
async def a_refusal_never_repeats_the_value(site: Site) -> None:
    """It may be a password, or 10 MB."""
    for kind in site.kinds:
        answer = await site.post(f"/{kind}/order", raw=b'{"password":"hunter2\\u0000"}')
        assert b"hunter2" not in answer.body


@variants(empty=("",), too_long=("k" * 201,))
@case("deferred", "inline")
async def a_malformed_idempotency_key_is_refused(site: Site, key: str) -> None:
    for kind in ("inline", "deferred"):
        answer = await site.post(f"/{kind}/order", {"order": 1}, Idempotency_Key=key)
        await site.expect_refusal(answer, "InvalidInput", 400)


@case("inline")
async def a_run_id_and_an_idempotency_key_together_are_refused(site: Site) -> None:
    answer = await site.post("/inline/order", {"order": 1}, Idempotency_Key="k", Run_Id="mine")
    await site.expect_refusal(answer, "UsageError", 400)
