"""What contexts and results may hold, and that it comes back as it was."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagaz_durable.serialization import codec
from sagaz_durable.testing.store_conformance.builders import LEASE, load, new, step, write
from sagaz_durable.testing.store_conformance.values.strategies import Knows, contexts, shape
from sagaz_integration_core.contract.store import SagaStore

__all__ = ["Values"]

_CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]


class Values:
    """Everything that a context or a result may hold comes back equal, and of the same types."""

    @settings(max_examples=25, deadline=None, database=None, suppress_health_check=_CHECKS)
    @given(st.lists(contexts, min_size=4, max_size=4))
    async def test_contexts_and_results_come_back_equal_and_of_the_same_types(
        self, store: SagaStore, values: list[dict[str, Any]]
    ) -> None:
        texts = [codec.encode(value, max_bytes=1_000_000, saga_class=Knows) for value in values]
        runs = [new(context=text) for text in texts]
        await store.insert(runs, LEASE)
        wanted = [run.saga_id for run in runs]
        claims = {
            run.saga_id: run for run in await store.claim("w1", len(runs), LEASE, {"OrderSaga": ()}, saga_ids=wanted)
        }
        for run, text, value in zip(runs, texts, values, strict=True):
            claim = claims[run.saga_id]
            assert shape(codec.decode(claim.context, Knows)) == shape(value)
            assert shape(codec.decode((await load(store, run.saga_id)).context, Knows)) == shape(value)
            done = step("a", "done", result=text)
            assert await store.write([write(claim, steps=(done,), status="completed")]) == [True]
            [entry] = await store.load_steps(run.saga_id)
            assert shape(codec.decode(entry.result or "", Knows)) == shape(value)
