"""The application's configuration; its ``sagas`` module is found by django_sagaz."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    name = "orders"
