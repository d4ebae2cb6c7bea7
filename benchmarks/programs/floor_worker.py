"""The floor of a worker: claims 50 runs, executes them side by side, and stores nothing but that they ended.

sagaz's own engine executes them, or, with BENCH_BARE, nobody: then a run is three awaited calls.
"""

from __future__ import annotations

import asyncio
import os

import psycopg
import sagaz

from benchmarks.programs.three_calls import three_awaited_calls
from benchmarks.sagas import NoopSaga

CLAIM = """
UPDATE run SET status = 'executing' WHERE id IN (
    SELECT id FROM run WHERE status = 'pending' ORDER BY id LIMIT 50 FOR UPDATE SKIP LOCKED
) RETURNING id, (context->>'n')::integer
"""
END = "UPDATE run SET status = 'completed' WHERE id = ANY(%s)"


async def main() -> None:
    """Work until it is stopped."""
    run = three_awaited_calls if os.environ["BENCH_BARE"] else _run
    sagaz.configure(sagaz.SagaConfig(metrics=False, logging=False))
    async with await psycopg.AsyncConnection.connect(os.environ["BENCH_POSTGRES"], autocommit=True) as connection:
        await connection.execute("LISTEN run")
        while True:
            claimed = await (await connection.execute(CLAIM)).fetchall()
            if claimed:
                await asyncio.gather(*(run(n) for _, n in claimed))
                await connection.execute(END, [[row[0] for row in claimed]])
            else:
                async for _ in connection.notifies(timeout=1, stop_after=1):
                    pass


async def _run(n: int) -> None:
    await NoopSaga().run({"n": n})


if __name__ == "__main__":
    asyncio.run(main())
