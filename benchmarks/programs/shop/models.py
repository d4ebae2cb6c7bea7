"""What a request writes besides the saga that it starts."""

from __future__ import annotations

from django.db import models


class Order(models.Model):
    """An order."""

    customer = models.CharField(max_length=100)
    amount = models.IntegerField()

    class Meta:
        app_label = "shop"
