"""What `check` takes for no problem yet, as whoever asks it may say."""

from __future__ import annotations

from sagaz_integration_core.contract.record import record

__all__ = ["THRESHOLDS", "Limits"]

THRESHOLDS = {
    "max_age": "A due run that waits for more SECONDS is a problem.",
    "max_failed": "More failed runs than N are a problem; by default none is.",
    "max_asking": "More runs than N that wait for a person's decision are a problem; by default none is.",
    "max_unknown": "More due runs than N whose saga no live worker knows are a problem; by default one is.",
    "max_lost_waits": "More waits than N of steps that are gone are a problem; by default one is.",
    "max_dead": "More events than N that were set aside are a problem; by default one is.",
    "max_quarantined": "More quarantined webhooks than N are a problem; by default one is.",
    "max_event_age": "An event that waits to be sent for more SECONDS is a problem; by default 300.",
}
"""The options, by the fields of `Limits`, with their help."""


@record
class Limits:
    """What is no problem yet.

    Attributes:
        max_age: Seconds for which the oldest due run may wait, even while workers are alive.
        max_failed: How many failed runs, which need manual intervention, there may be; None for any number.
        max_asking: How many runs may wait for a person's decision; None for any number.
        max_unknown: How many due runs there may be whose saga no live worker knows.
        max_lost_waits: How many waits there may be of steps that this deployment's class has not.
        max_dead: How many events may have been set aside.
        max_quarantined: How many events of webhooks may be quarantined.
        max_event_age: Seconds for which an event may wait to be sent.
    """

    max_age: float | None = None
    max_failed: int | None = None
    max_asking: int | None = None
    max_unknown: int = 0
    max_lost_waits: int = 0
    max_dead: int = 0
    max_quarantined: int = 0
    max_event_age: float = 300.0
