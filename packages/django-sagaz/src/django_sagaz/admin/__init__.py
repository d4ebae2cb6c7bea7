"""The admin's pages for runs, signals and events; loaded by ``django.contrib.admin`` alone, which is optional."""

from __future__ import annotations

from django.contrib import admin

from django_sagaz.admin.events import OutboxEventAdmin
from django_sagaz.admin.runs import RunAdmin
from django_sagaz.admin.signals import SignalAdmin
from django_sagaz.models import OutboxEvent, Run, Signal

__all__ = ["OutboxEventAdmin", "RunAdmin", "SignalAdmin"]

admin.site.register(Run, RunAdmin)
admin.site.register(OutboxEvent, OutboxEventAdmin)
admin.site.register(Signal, SignalAdmin)
