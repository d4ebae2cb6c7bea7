"""The storm's Django project, as a project with Celery has it."""

from celery_storm.django_shop.celery import app as celery_app

__all__ = ["celery_app"]
