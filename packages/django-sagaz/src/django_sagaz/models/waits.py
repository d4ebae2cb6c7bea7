"""The models of what runs wait for, and of the signals that they are sent; see `django_sagaz.models`."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_sagaz.fields import ExactCharField
from django_sagaz.models.indexes import PartialIndex
from sagaz_integration_core.error_text import visible

__all__ = ["Phase", "Signal", "Wait"]


class Phase(models.TextChoices):
    """The step itself, what decides about its failure behind a pivot, or its compensation."""

    DO = "do", _("step")
    REDO = "redo", _("recovery")
    UNDO = "undo", _("compensation")


class Wait(models.Model):
    """What a step or a compensation waits for, or has waited for; it is deleted when that ends."""

    class Outcome(models.TextChoices):
        """How it ended; ``refused``: another run waits under the same key."""

        SIGNAL = "signal", _("signal")
        TIMEOUT = "timeout", _("time over")
        REFUSED = "refused", _("refused")

    pk = models.CompositePrimaryKey("saga_id", "step", "phase", "name", "n")
    saga_id = ExactCharField(max_length=255)
    step = ExactCharField(max_length=200)
    phase = ExactCharField(max_length=4, choices=Phase.choices)
    # Empty for a time.
    name = ExactCharField(max_length=200, blank=True)
    n = models.IntegerField()
    key = ExactCharField(max_length=200, null=True, blank=True)
    until = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    outcome = ExactCharField(max_length=10, choices=Outcome.choices, null=True, blank=True)
    attempt = models.IntegerField(null=True, blank=True)
    payload = models.JSONField(null=True, blank=True)

    class Meta:
        db_table = "sagaz_wait"
        default_permissions = ()
        # Only open waits have a key: at most one at a time has it.
        constraints = [models.UniqueConstraint(fields=["name", "key"], name="sagaz_wait_key")]

    def __str__(self) -> str:
        return visible(f"{self.name or self.until} for {self.step} of {self.saga_id}")


class Signal(models.Model):
    """A signal that was sent; when a run has taken it, what is left tells that it came."""

    id = ExactCharField(max_length=36, primary_key=True)
    name = ExactCharField(max_length=200)
    saga_id = ExactCharField(max_length=255, null=True, blank=True)
    key = ExactCharField(max_length=200, null=True, blank=True)
    signal_id = ExactCharField(max_length=200, blank=True)
    payload = models.JSONField(null=True, blank=True)
    fingerprint = models.CharField(max_length=64)
    created_at = models.DateTimeField()
    taken_at = models.DateTimeField(null=True, blank=True)
    taken_by = ExactCharField(max_length=255, null=True, blank=True)
    taken_step = ExactCharField(max_length=200, null=True, blank=True)
    taken_phase = ExactCharField(max_length=4, choices=Phase.choices, null=True, blank=True)
    # When it was first looked at while nobody waited for it.
    seen_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "sagaz_signal"
        verbose_name = _("signal")
        verbose_name_plural = _("signals")
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["taken_at", "seen_at"], name="sagaz_signal_fresh"),
            PartialIndex(filled="saga_id", fields=["saga_id", "name"], name="sagaz_signal_run"),
            PartialIndex(filled="key", fields=["key", "name"], name="sagaz_signal_key"),
            models.Index(fields=["taken_at", "created_at", "id"], name="sagaz_signal_created"),
            PartialIndex(filled="taken_by", fields=["taken_by"], name="sagaz_signal_taken_by"),
        ]

    def __str__(self) -> str:
        return visible(f"{self.name} {self.saga_id or self.key}")
