"""Approvals in FastAPI: tokens signed with the setting, and what is wrong with them as answers to a client."""

import asyncio
from typing import Annotated

import pytest
from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse
from sagaz import Saga, action
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

import fastapi_sagaz
from fastapi_sagaz import (
    ApprovalInvalid,
    InvalidInput,
    RunWaiting,
    Sagas,
    SettingsError,
    create_lifespan,
    current_step,
    sagas_of,
)
from support.approval_errors import check_errors

KEY, FORMER = "the present key of the application", "the former key of the application"


class OrderSaga(Saga):
    saga_name = "order"

    @action("approve")
    async def approve(self, ctx):
        return {"approved": (await current_step().signal("approval"))["approved"]}


def shop(engine, storage_url, keys=KEY):
    settings = {"STORAGE_URL": storage_url, "SIGNING_KEYS": keys}
    app = FastAPI(lifespan=create_lifespan(settings, sagas=[OrderSaga], worker=True))

    @app.exception_handler(InvalidInput)
    async def invalid_input(request, error):
        return JSONResponse({"error": type(error).__name__, "detail": str(error)}, 422)

    @app.post("/approvals/{token}")
    async def decide(token: str, approved: bool, sagas: Annotated[Sagas, Depends()], kept: bool = True):
        async with AsyncSession(engine) as session:
            payload = {"approved": approved}
            new = await sagas.decide_approval(token, payload, by="mia", reason="known", session=session)
            await (session.commit() if kept else session.rollback())
        return {"new": new}

    return app


@pytest.fixture
def engine(tmp_path):
    return create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'sagas.db'}")


async def started(app):
    with pytest.raises(RunWaiting) as waiting:
        await sagas_of(app).run(OrderSaga)
    return waiting.value.saga_id


async def ended(app, saga_id):
    async with asyncio.timeout(20):
        while (report := await sagas_of(app).status(saga_id)).status not in ("completed", "rolled_back"):
            await asyncio.sleep(0.01)
    return report


async def test_a_decision_is_taken_once_with_the_transaction_and_its_note(serve, engine, storage_url):
    app = shop(engine, storage_url)
    async with serve(app) as client:
        saga_id = await started(app)
        address = f"/approvals/{sagas_of(app).approval_token('approval', saga_id=saga_id)}"

        async def decide(**params):
            answer = await client.post(address, params=params)
            return answer.status_code, answer.json().get("error", answer.json().get("new"))

        assert await decide(approved=False, kept=False) == (200, True)
        assert (await sagas_of(app).status(saga_id)).audit == ()
        assert await decide(approved=True) == (200, True)
        assert await decide(approved=True) == (200, False)
        assert await decide(approved=False) == (422, "ApprovalDecided")
        report = await ended(app, saga_id)
        assert report.status == "completed"
        assert [(note.actor, note.reason) for note in report.audit] == [("mia", "known")]
    await engine.dispose()


async def test_what_is_wrong_with_a_token_is_what_a_client_got_wrong(serve, engine, storage_url):
    app = shop(engine, storage_url)
    async with serve(app) as client:
        sagas, saga_id = sagas_of(app), await started(app)
        await sagas.cancel(saga_id, by="ada")
        await ended(app, saga_id)
        token = sagas.approval_token("approval", saga_id=saga_id)
        over = sagas.signer().sign(["approval", saga_id, None, "", 1.0])
        said = {}
        for sent in (token, over, f"{token}x", "x"):
            answer = await client.post(f"/approvals/{sent}", params={"approved": True})
            said[sent] = (answer.status_code, answer.json()["error"])
        assert said == {
            token: (422, "ApprovalEnded"),
            over: (422, "ApprovalExpired"),
            f"{token}x": (422, "ApprovalInvalid"),
            "x": (422, "ApprovalInvalid"),
        }
    check_errors(fastapi_sagaz)


async def test_a_former_key_verifies_until_it_is_taken_out(serve, engine, storage_url):
    async with serve(former := shop(engine, storage_url, FORMER)):
        token = sagas_of(former).approval_token("approval", saga_id="run-1")
    async with serve(both := shop(engine, storage_url, f"{KEY},{FORMER}")):
        assert sagas_of(both).read_approval(token).saga_id == "run-1"
        newer = sagas_of(both).approval_token("approval", saga_id="run-2")
    async with serve(app := shop(engine, storage_url)):
        assert sagas_of(app).read_approval(newer).saga_id == "run-2"
        with pytest.raises(ApprovalInvalid):
            sagas_of(app).read_approval(token)


async def test_without_keys_the_error_names_the_setting_and_short_ones_are_refused(serve, engine, storage_url):
    async with serve(app := shop(engine, storage_url, "")):
        with pytest.raises(SettingsError, match="SAGAZ_SIGNING_KEYS is not set"):
            sagas_of(app).approval_token("approval", saga_id="run-1")
    with pytest.raises(SettingsError, match="at least 32 bytes") as refused:
        async with serve(shop(engine, storage_url, "hunter2")):
            pass
    assert "hunter2" not in str(refused.value)
