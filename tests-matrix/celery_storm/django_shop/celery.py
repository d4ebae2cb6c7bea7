"""Its Celery application."""

import os

from celery import Celery

from celery_storm.configuration import CONFIGURATION
from django_sagaz.celery import register

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "celery_storm.django_shop.settings")

app = Celery("storm")
app.config_from_object(CONFIGURATION)
register(app)
