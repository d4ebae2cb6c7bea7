"""The tables, as models: for migrations, queries and the admin. Runs are executed by plain SQL on the same tables."""

from __future__ import annotations

from sagaz_durable import without_collections

with without_collections():
    from django_sagaz.models.request_keys import RequestKey
    from django_sagaz.models.runs import Attempt, AuditEntry, OutboxEvent, Run, Step, StoreInfo, WorkerProcess
    from django_sagaz.models.waits import Signal, Wait
    from django_sagaz.models.webhooks import Webhook

__all__ = [
    "Attempt", "AuditEntry", "OutboxEvent", "RequestKey", "Run", "Signal", "Step", "StoreInfo", "Wait", "Webhook",
    "WorkerProcess",
]  # fmt: skip
