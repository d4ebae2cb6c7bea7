"""The programs of the how-to about contexts: their values come back as they were, and what does not fit is a 422."""

from __future__ import annotations

import sys
from pathlib import Path

from test_docs import call, run, write

PAGE = "docs/howto/contexts.md"
ID = "0f8fad5b-d9cb-469f-a165-70867728950e"

STORY = """
import asyncio
from dataclasses import dataclass
from decimal import Decimal
from fastapi import FastAPI
from fastapi_sagaz import create_lifespan, sagas_of
from amounts import InvoiceSaga
from shipments import Purchase, ShipmentSaga

app = FastAPI(lifespan=create_lifespan(sagas=[InvoiceSaga, ShipmentSaga]))

async def main():
    async with app.router.lifespan_context(app):
        invoice = await sagas_of(app).run(InvoiceSaga, {"amount": Decimal("100.00")})
        print(repr(invoice["total"]), invoice["days_left"])
        await sagas_of(app).run(ShipmentSaga, Purchase("o-1", Decimal("1.50")))

asyncio.run(main())
"""


def test_amounts_and_declared_results_come_to_the_next_step(tmp_path: Path) -> None:
    write(PAGE, tmp_path)
    said = run(tmp_path, sys.executable, "-W", "ignore", "-c", STORY, SAGAZ_STORAGE_URL="sqlite:///s.db")
    assert "Decimal('119.0000') 13" in said
    assert "shipping o-1 paid by ch_o-1" in said


def test_a_model_is_a_context_and_what_it_holds_is_answered_as_json(tmp_path: Path) -> None:
    write(PAGE, tmp_path)
    [[status, body, _]] = call(
        tmp_path, "receipts", ("POST", "/orders", {"json": {"order_id": ID, "amount": "12.50"}}),
        SAGAZ_STORAGE_URL="sqlite:///s.db",
    )  # fmt: skip
    assert status == 200
    assert (body["charge"], body["total"], body["amount"], body["order_id"]) == (f"ch_{ID}", "12.50", "12.50", ID)


def test_a_context_that_does_not_fit_is_answered_as_fastapi_does_it(tmp_path: Path) -> None:
    write(PAGE, tmp_path)
    good, bad = {"order_id": "o-1", "amount": "12.50"}, {"order_id": "o-1", "amount": "much"}
    [[status, body, _], [wrong, told, _]] = call(
        tmp_path, "checkout", ("POST", "/orders", {"json": good}), ("POST", "/orders", {"json": bad}),
        SAGAZ_STORAGE_URL="sqlite:///s.db",
    )  # fmt: skip
    assert (status, list(body)) == (200, ["saga_id"])
    assert (wrong, [one["loc"] for one in told["detail"]]) == (422, [["body", "amount"]])
