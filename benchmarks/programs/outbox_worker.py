"""sagaz's own ``OutboxWorker``: it publishes events, and this broker does at once what a consumer would do."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from sagaz.core.outbox import OutboxConfig, OutboxWorker
from sagaz.core.outbox.brokers.base import BaseBroker
from sagaz.core.storage.backends.postgresql import PostgreSQLOutboxStorage

from benchmarks.programs.three_calls import three_awaited_calls


class Consumer(BaseBroker):
    """Makes the calls that a message is about."""

    async def connect(self) -> None:
        """There is nothing to connect to."""

    async def publish(self, topic: str, message: bytes, headers: Any = None, key: str | None = None) -> None:
        """Do what the message tells."""
        await three_awaited_calls(json.loads(message)["payload"]["n"])

    async def close(self) -> None:
        """Nothing is open."""

    async def health_check(self) -> bool:
        """It is always well."""
        return True


async def main() -> None:
    """Work until it is stopped."""
    storage = PostgreSQLOutboxStorage(os.environ["BENCH_POSTGRES"])
    await storage.initialize()
    config = OutboxConfig(batch_size=50, poll_interval_seconds=float(os.environ["BENCH_POLL"]))
    await OutboxWorker(storage, Consumer(), config).start()


if __name__ == "__main__":
    asyncio.run(main())
