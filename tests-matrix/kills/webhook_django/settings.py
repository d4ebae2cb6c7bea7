"""The settings of the project whose clients repeat their orders, with addresses of its own."""

from kills.repeated_django.settings import ALLOWED_HOSTS, DATABASES, SAGAZ, SECRET_KEY, USE_TZ

__all__ = ["ALLOWED_HOSTS", "DATABASES", "INSTALLED_APPS", "ROOT_URLCONF", "SAGAZ", "SECRET_KEY", "USE_TZ"]

INSTALLED_APPS = ["django_sagaz", "kills.webhook_django"]
ROOT_URLCONF = "kills.webhook_django.urls"
