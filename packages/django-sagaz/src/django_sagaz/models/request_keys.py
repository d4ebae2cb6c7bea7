"""The model of the requests that clients may repeat; see `django_sagaz.models`."""

from __future__ import annotations

from django.db import models

from django_sagaz.fields import ExactCharField
from django_sagaz.models.indexes import PartialIndex

__all__ = ["RequestKey"]


class RequestKey(models.Model):
    """A request that is executed once, and what it was answered with."""

    # A digest of whose key it is, for which view, and of the key itself.
    id = ExactCharField(max_length=64, primary_key=True)
    fingerprint = ExactCharField(max_length=64)
    saga_id = ExactCharField(max_length=255, null=True, blank=True)
    owner = ExactCharField(max_length=120, null=True, blank=True)
    leased_until = models.DateTimeField(null=True, blank=True)
    # None as long as it is executed.
    answer = models.TextField(null=True, blank=True)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "sagaz_idempotency"
        default_permissions = ()
        indexes = [
            models.Index(fields=["expires_at"], name="sagaz_idempotency_expires"),
            PartialIndex(filled="saga_id", fields=["saga_id"], name="sagaz_idempotency_saga"),
        ]

    def __str__(self) -> str:
        return self.id
