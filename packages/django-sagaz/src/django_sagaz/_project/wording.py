"""How Django's users spell settings, commands and extras."""

from __future__ import annotations

from sagaz_durable.settings.wording import Wording

__all__ = ["WORDING"]

WORDING = Wording(
    settings='SAGAZ["{name}"]',
    commands="`python manage.py sagaz_{name}{options}`",
    between="_",
    distribution="django-sagaz",
    migrate="`python manage.py migrate`",
    sagas="a sagas.py module of an installed app",
    worker="the memory store always does, in each process",
    celery=(
        "Call django_sagaz.celery.register(app) where the project's Celery application is made, and import that module "
        "in the project's __init__.py"
    ),
)
