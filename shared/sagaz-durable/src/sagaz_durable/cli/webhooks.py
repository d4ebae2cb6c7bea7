"""What the command for webhooks does beneath its options, in every framework; it returns what to print."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sagaz_durable.cli.render_runs import time_text
from sagaz_durable.cli.runs import LISTED
from sagaz_durable.cli.said import Said
from sagaz_durable.intake.handlers import Hook
from sagaz_durable.intake.replaying import Dismisser, Replayed, Replayer
from sagaz_durable.redaction import masked, secret_keys
from sagaz_durable.serialization.client_ids import findable
from sagaz_integration_core.contract.decisions import AuditRecord
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.contract.webhooks import WebhookFilter, WebhookRecord, webhook_subject
from sagaz_integration_core.error_text import json_text, visible
from sagaz_integration_core.errors import SettingsError

if TYPE_CHECKING:
    from sagaz_durable.operations.scope import Scope

__all__ = ["dismiss_webhooks", "list_webhooks", "replay_webhooks"]

_PAGE = 500

Values = Mapping[str, Any]


async def list_webhooks(scope: Scope, given: Values) -> Said:
    """List events, the newest first, or show those that are named, with what people decided about them.

    Raises:
        SettingsError: What was asked for contradicts itself.
    """
    if given["all"] or given["dry_run"] or given["reason"]:
        raise SettingsError(
            "--all, --dry-run and --reason say how to replay or dismiss; add --replay or --dismiss, or leave them out."
        )
    _check_texts(given)
    is_secret = secret_keys(scope.settings.redact_keys)
    limit = given["limit"] or LISTED
    query = WebhookFilter(None, given["outcome"], given["source"], given["run"], limit)
    queries = [replace(query, id=one) for one in given["webhook_ids"]] or [query]
    found = [record for one in queries for record in await scope.store.find_webhooks(one)]
    notes = {record.id: await _notes(scope.store, record) if given["webhook_ids"] else [] for record in found}
    shown = [(one, notes[one.id], _body(one, is_secret) if given["body"] else None) for one in found]
    missing = [one for one in given["webhook_ids"] if one not in notes]
    if given["format"] == "json":
        return Said(json_text([_row(*one) for one in shown], indent=2, default=datetime.isoformat), not missing)
    lines = [line for one in shown for line in _lines(*one)]
    lines += [f"There is no webhook {one} in this store that matches; it may have been pruned." for one in missing]
    return Said("\n".join(map(visible, lines)) or "No webhooks.", not missing)


async def replay_webhooks(scope: Scope, given: Values, hook: Hook) -> Said:
    """Have events given to their sagas again: quarantined ones, and those that are named also if they are ignored.

    Raises:
        SettingsError: What was asked for contradicts itself.
    """
    if bool(given["webhook_ids"]) == given["all"]:
        raise SettingsError("Name the events by their ids, or say --all for all that match; one of the two.")
    if given["outcome"] not in (None, "quarantined"):
        raise SettingsError(
            "--replay --all is for quarantined events; leave out --outcome, and name ignored ones by their ids."
        )
    if given["limit"] is not None or given["body"]:
        raise SettingsError("--limit and --body are about events that are listed; leave them out, or --replay.")
    _check_texts(given)
    replayer = Replayer(scope, hook, given["by"], given["reason"])
    chosen = given["webhook_ids"] or await _quarantined(scope.store, given)
    return _decided([await replayer.replay(one, dry_run=given["dry_run"]) for one in chosen], given)


async def dismiss_webhooks(scope: Scope, given: Values) -> Said:
    """Have quarantined events, which are named, be ignored.

    Raises:
        SettingsError: What was asked for contradicts itself.
    """
    if given["replay"] or given["all"] or not given["webhook_ids"]:
        raise SettingsError("--dismiss is for events that are named by their ids; leave out --replay and --all.")
    if any(given[name] for name in ("outcome", "source", "run", "limit", "body")):
        raise SettingsError("Events that are dismissed are named; leave out what lists or chooses them.")
    _check_texts(given)
    dismisser = Dismisser(scope.store, given["by"], given["reason"])
    return _decided([await dismisser.dismiss(one, dry_run=given["dry_run"]) for one in given["webhook_ids"]], given)


def _decided(what: Sequence[Replayed], given: Values) -> Said:
    text = json_text([asdict(one) for one in what], indent=2) if given["format"] == "json" else _told(what)
    return Said(text, all(one.done for one in what))


async def _quarantined(store: SagaStore, given: Values) -> list[str]:
    """Return all that are meant, the oldest first, read before the first is replayed."""
    query = WebhookFilter(None, "quarantined", given["source"], given["run"], _PAGE)
    found: list[WebhookRecord] = []
    while page := await store.find_webhooks(query):
        found += page
        query = replace(query, before=(page[-1].received_at, page[-1].id))
    return [record.id for record in reversed(found)]


async def _notes(store: SagaStore, record: WebhookRecord) -> list[AuditRecord]:
    return await store.load_audit(webhook_subject(record.id))


def _check_texts(given: Values) -> None:
    if not findable(given["source"], given["run"], *given["webhook_ids"]):
        raise SettingsError("An id or a name has characters that no text has; expected Unicode without NUL.")


def _told(replayed: Sequence[Replayed]) -> str:
    lines = [f"{one.id}  {'' if one.done else 'refused: '}{one.message}" for one in replayed]
    return "\n".join(map(visible, lines)) or "No quarantined webhooks."


def _lines(record: WebhookRecord, notes: Sequence[AuditRecord], body: Any) -> list[str]:
    head = f"{time_text(record.received_at)}  {record.outcome:<11}  {record.source}  {record.delivery_id}"
    parts = [head, record.event_type or "", _led_to(record)]
    line = "  ".join(part for part in parts if part)
    lines = [f"{line}: {record.reason}" if record.reason else line, f"    id {record.id}"]
    lines += [
        f"    {time_text(note.at)}  {note.action} by {note.actor}: {note.found} → {note.status}"
        + (f" ({note.reason})" if note.reason else "")
        for note in notes
    ]
    return lines if body is None else [*lines, f"    body {json_text(body)}"]


def _led_to(record: WebhookRecord) -> str:
    if record.signal is not None:
        to = f"run {record.saga_id}" if record.key is None else f"key {record.key}"
        return f"signal {record.signal} to {to}"
    return f"run {record.saga_id}" if record.saga_id is not None else record.handler


def _row(record: WebhookRecord, notes: Sequence[AuditRecord], body: Any) -> dict[str, Any]:
    row = {name: value for name, value in asdict(record).items() if name not in ("body", "fingerprint")}
    if notes:
        row["audit"] = [asdict(note) for note in notes]
    return row if body is None else {**row, "body": body}


def _body(record: WebhookRecord, is_secret: Callable[[str], bool]) -> Any:
    return "erased" if record.body is None else masked(json.loads(record.body), is_secret)
