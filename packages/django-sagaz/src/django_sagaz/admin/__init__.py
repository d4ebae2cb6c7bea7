"""The admin's pages of runs, signals, events, webhooks; loaded by ``django.contrib.admin`` alone, which is optional."""

from __future__ import annotations

from django.contrib import admin

from django_sagaz.admin.events import OutboxEventAdmin
from django_sagaz.admin.runs import RunAdmin
from django_sagaz.admin.signals import SignalAdmin
from django_sagaz.admin.webhooks import WebhookAdmin
from django_sagaz.models import OutboxEvent, Run, Signal, Webhook

__all__ = ["OutboxEventAdmin", "RunAdmin", "SignalAdmin", "WebhookAdmin"]

admin.site.register(Run, RunAdmin)
admin.site.register(OutboxEvent, OutboxEventAdmin)
admin.site.register(Signal, SignalAdmin)
admin.site.register(Webhook, WebhookAdmin)
