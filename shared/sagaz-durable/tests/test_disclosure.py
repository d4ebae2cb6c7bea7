"""What errors hold beneath their texts: addresses and passwords in drivers' frames, rows in their texts."""

from __future__ import annotations

import psycopg
import pytest
import sqlalchemy.exc

from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.settings.settings import Settings
from sagaz_durable.transactions.database_errors import without_rows
from sagaz_integration_core.errors import StoreUnavailable

SECRET = "Zq7Kx9Vw"


def frames(error):
    """What whoever reports an error collects: each local variable of each frame, along the whole chain."""
    chain, seen = [error], []
    while chain:
        one = chain.pop()
        if one is None or one in seen:
            continue
        seen.append(one)
        chain += [one.__cause__, one.__context__]
        traceback = one.__traceback__
        while traceback is not None:
            module = traceback.tb_frame.f_globals["__name__"]
            for name, value in traceback.tb_frame.f_locals.items():
                yield module, name, repr(value)
            traceback = traceback.tb_next


async def test_an_address_that_does_not_answer_is_in_no_frame_that_an_error_holds():
    runtime = SagazRuntime(Settings(storage_url=f"postgresql://me:{SECRET}@127.0.0.1:1/db"))
    with pytest.raises(StoreUnavailable) as caught:
        await runtime.open()
    assert SECRET not in str(caught.value)
    held = [(module, name) for module, name, text in frames(caught.value) if SECRET in text]
    assert held == []


def test_a_refused_row_is_neither_in_the_text_of_a_drivers_error_nor_in_its_causes():
    refused = psycopg.errors.CheckViolation("new row violates\nDETAIL:  Failing row contains (hunter2).\nCONTEXT:  x")
    wrapped = sqlalchemy.exc.IntegrityError("INSERT", {"context": "hunter2"}, refused)
    wrapped.__cause__ = refused
    assert "hunter2" in str(wrapped)
    handled = ValueError("mine\nDETAIL: mine")
    refused.__context__ = handled
    assert without_rows(wrapped) is wrapped
    assert "hunter2" not in f"{wrapped} {refused} {wrapped.orig}"
    assert "new row violates" in str(wrapped)
    assert str(handled) == "mine\nDETAIL: mine"
