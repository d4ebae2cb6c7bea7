"""The storm's Flask application, with a Celery application beside it."""

from __future__ import annotations

from celery import Celery

from celery_storm.configuration import CONFIGURATION
from flask_sagaz.celery import register
from storm.flask_app import app

__all__ = ["app", "celery"]

celery = Celery("storm")
celery.config_from_object(CONFIGURATION)
register(celery, app)
