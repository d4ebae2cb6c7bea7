"""The application, under a short label."""

from __future__ import annotations

from django.apps import AppConfig


class ShopConfig(AppConfig):
    """The shop."""

    name = "benchmarks.programs.shop"
    label = "shop"
