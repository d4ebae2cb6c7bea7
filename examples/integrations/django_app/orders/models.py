"""What the shop keeps of an order, beside its saga."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    class Status(models.TextChoices):
        PLACED = "placed"
        SHIPPED = "shipped"
        CANCELLED = "cancelled"

    customer = models.CharField(max_length=40)
    number = models.CharField(max_length=40)
    amount = models.PositiveIntegerField()
    status = models.CharField(max_length=10, choices=Status.choices, default=Status.PLACED)
    parcel = models.CharField(max_length=100, blank=True)
    approved_by = models.CharField(max_length=40, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["customer", "number"], name="one_order_of_a_number")]

    def __str__(self) -> str:
        return self.number
