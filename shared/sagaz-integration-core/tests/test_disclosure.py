"""What errors hold beneath their texts: frames of drivers, in which addresses and passwords stand."""

from __future__ import annotations

import pytest

from sagaz_integration_core.errors import StoreUnavailable
from sagaz_integration_core.lifecycle import SagazRuntime
from sagaz_integration_core.settings import Settings
from sagaz_integration_core.texts import without_frames

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


def test_an_exception_loses_its_frames_and_those_of_whatever_it_is_chained_to():
    def fail(address):
        try:
            raise ValueError
        except ValueError as error:
            raise KeyError from error

    try:
        fail(SECRET)
    except KeyError as error:
        error.__cause__.__context__ = error
        caught = error
    assert without_frames(caught) is caught
    assert not [name for _, name, text in frames(caught) if SECRET in text]
    assert isinstance(caught.__cause__, ValueError)
