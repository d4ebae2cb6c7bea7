"""The fifth store passes what the other four pass, and keeps its file whole."""

from __future__ import annotations

import pytest

from file_store.store import FileStore
from sagaz_durable import Saga, action
from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_durable.testing.store_conformance import Reopening, StoreConformance
from sagaz_integration_core.contract.records import NewRun
from sagaz_integration_core.errors import StoreUnavailable


@pytest.fixture
async def store(tmp_path):
    store = FileStore(tmp_path / "sagas")
    await store.open()
    yield store
    await store.close()


class TestFileStore(StoreConformance, Reopening): ...


class GreetingSaga(Saga):
    @action("greet")
    async def greet(self, ctx: dict) -> dict:
        return {"said": f"Hello, {ctx['name']}"}


async def test_a_saga_is_executed_on_it_and_found_by_the_next_process(tmp_path) -> None:
    def runtime() -> SagazRuntime:
        return SagazRuntime(sagas=[GreetingSaga], open_store=lambda settings: FileStore(tmp_path / "sagas"))

    first, later = runtime(), runtime()
    await first.open()
    await first.begin()
    run = await Sagas(first).run(GreetingSaga, {"name": "Ada"})
    assert run["said"] == "Hello, Ada"
    await first.close()
    await later.open()
    assert (await Sagas(later).status(run.saga_id)).status == "completed"
    await later.close()


async def test_a_file_that_is_open_is_refused_to_everybody_else(store, tmp_path) -> None:
    with pytest.raises(StoreUnavailable, match="another process has it open"):
        await FileStore(tmp_path / "sagas").open()


async def test_a_file_that_is_no_store_is_refused_and_left_alone(tmp_path) -> None:
    path = tmp_path / "letter"
    path.write_text("Dear Ada")
    with pytest.raises(StoreUnavailable, match="cannot be read"):
        await FileStore(path).open()
    assert path.read_text() == "Dear Ada"
    path.unlink()
    await (store := FileStore(path)).open()
    await store.close()


async def test_a_commit_that_cannot_be_written_leaves_nothing(store, tmp_path) -> None:
    run = NewRun("r-1", "greeting", "{}", "f")
    (tmp_path / "sagas.new").mkdir()
    with pytest.raises(StoreUnavailable, match="cannot be written"):
        await store.insert([run], 30)
    assert await store.load("r-1") is None
    (tmp_path / "sagas.new").rmdir()
    assert [one.created for one in await store.insert([run], 30)] == [True]
