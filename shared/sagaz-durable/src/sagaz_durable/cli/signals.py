"""What commands do about signals: sending one, and listing those that nobody has taken."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sagaz_durable.cli.render_runs import outcomes_json, outcomes_text, time_text
from sagaz_durable.cli.said import Said
from sagaz_durable.operations.operator import Operator
from sagaz_durable.settings.settings import Settings
from sagaz_integration_core.contract.store import SagaStore
from sagaz_integration_core.contract.waits import SignalFilter, SignalRecord
from sagaz_integration_core.error_text import json_text, value_text, visible
from sagaz_integration_core.errors import SettingsError

__all__ = ["list_signals", "send_signal"]


async def list_signals(store: SagaStore, limit: int, output: str) -> Said:
    """List the signals that nobody has taken, newest first, without what they bring."""
    found = await store.find_signals(SignalFilter(limit=limit))
    return Said(_json(found) if output == "json" else _text(found))


def _text(found: Sequence[SignalRecord]) -> str:
    return "\n".join(visible(_line(signal)) for signal in found) or "No signals."


def _line(signal: SignalRecord) -> str:
    to = f"run {signal.saga_id}" if signal.key is None else f"key {signal.key}"
    with_id = f"  {signal.signal_id}" if signal.signal_id else ""
    return f"{time_text(signal.created_at)}  {signal.name}  to {to}{with_id}"


def _json(found: Sequence[SignalRecord]) -> str:
    hidden = ("payload", "fingerprint", "taken_at", "taken_by")
    rows = [{name: value for name, value in asdict(one).items() if name not in hidden} for one in found]
    return json_text(rows, indent=2, default=datetime.isoformat)


async def send_signal(operator: Operator, settings: Settings, given: Mapping[str, Any]) -> Said:
    """Send a signal as a person does.

    Raises:
        SettingsError: What it is given is no JSON object, or not exactly one of --run and --key was given.
        InvalidInput: It cannot be kept as it is.
    """
    if (given["run"] is None) == (given["key"] is None):
        raise SettingsError("Say to whom: --run SAGA_ID, or --key KEY; one of the two.")
    outcome = await operator.send_signal(
        settings, given["name"], _payload(given["payload"]), saga_id=given["run"], key=given["key"],
        signal_id=given["signal_id"], reason=given["reason"], dry_run=given["dry_run"],
    )  # fmt: skip
    return Said(outcomes_json([outcome]) if given["format"] == "json" else outcomes_text([outcome]), outcome.done)


def _payload(text: str) -> dict[str, Any]:
    try:
        payload = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"--payload {value_text(text, 60)} is no JSON: {error}") from None
    if not isinstance(payload, dict):
        raise SettingsError(
            f"--payload {value_text(text, 60)} is no JSON object; expected e.g. '{{\"approved\": true}}'."
        )
    return payload
