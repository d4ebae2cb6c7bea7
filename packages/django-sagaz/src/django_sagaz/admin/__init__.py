"""The admin's pages for runs and events; loaded by ``django.contrib.admin`` alone, which is optional."""

from __future__ import annotations

from django.contrib import admin

from django_sagaz.admin.events import OutboxEventAdmin
from django_sagaz.admin.runs import RunAdmin
from django_sagaz.models import OutboxEvent, Run

__all__ = ["OutboxEventAdmin", "RunAdmin"]

admin.site.register(Run, RunAdmin)
admin.site.register(OutboxEvent, OutboxEventAdmin)
