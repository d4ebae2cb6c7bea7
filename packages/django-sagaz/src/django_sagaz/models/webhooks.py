"""The model of the events that senders deliver to ``webhooks/…``; see `django_sagaz.models`."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_sagaz.fields import ExactCharField
from django_sagaz.models.indexes import PartialIndex
from sagaz_integration_core.error_text import visible

__all__ = ["Webhook"]


class Webhook(models.Model):
    """An event that was delivered, and what one saga made of it."""

    class Outcome(models.TextChoices):
        """What became of it."""

        STARTED = "started", _("started a run")
        RESUMED = "resumed", _("a run waited for it")
        EARLY = "early", _("kept until a run waits for it")
        IGNORED = "ignored", _("not for us")
        QUARANTINED = "quarantined", _("quarantined")
        DELAYED = "delayed", _("waits for the limit of its trigger")

    # A digest of source, delivery and handler.
    id = ExactCharField(max_length=64, primary_key=True)
    source = ExactCharField(max_length=100)
    delivery_id = ExactCharField(max_length=200)
    # Saga and method; empty if no saga wants it.
    handler = ExactCharField(max_length=400, blank=True)
    event_type = models.CharField(max_length=200, null=True, blank=True)
    received_at = models.DateTimeField()
    outcome = ExactCharField(max_length=11, choices=Outcome.choices)
    reason = models.TextField(null=True, blank=True)
    saga_id = ExactCharField(max_length=255, null=True, blank=True)
    signal = ExactCharField(max_length=200, null=True, blank=True)
    key = ExactCharField(max_length=200, null=True, blank=True)
    fingerprint = ExactCharField(max_length=64, blank=True)
    body = models.TextField(null=True, blank=True)
    correlation_id = models.CharField(max_length=255, null=True, blank=True)

    class Meta:
        db_table = "sagaz_webhook"
        verbose_name = _("webhook")
        verbose_name_plural = _("webhooks")
        default_permissions = ("view",)
        permissions = [("replay_webhook", "Can replay webhook"), ("dismiss_webhook", "Can dismiss webhook")]
        indexes = [
            models.Index(fields=["source", "delivery_id"], name="sagaz_webhook_delivery"),
            PartialIndex(filled="signal", fields=["delivery_id", "signal"], name="sagaz_webhook_signal"),
            PartialIndex(filled="saga_id", fields=["saga_id"], name="sagaz_webhook_saga"),
            models.Index(fields=["received_at", "id"], name="sagaz_webhook_received"),
            models.Index(fields=["outcome", "received_at"], name="sagaz_webhook_outcome"),
        ]

    def __str__(self) -> str:
        return visible(f"{self.source} {self.delivery_id}")
