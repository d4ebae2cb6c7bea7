"""The storm's settings, with addresses of its own; a locked SQLite file is waited for a moment."""

from storm.django_site.settings import ALLOWED_HOSTS, DATABASES, SAGAZ, SECRET_KEY, USE_TZ

__all__ = ["ALLOWED_HOSTS", "DATABASES", "INSTALLED_APPS", "ROOT_URLCONF", "SAGAZ", "SECRET_KEY", "USE_TZ"]

INSTALLED_APPS = ["django_sagaz", "kills.repeated_django"]
ROOT_URLCONF = "kills.repeated_django.urls"
if "sqlite3" in DATABASES["default"]["ENGINE"]:
    DATABASES["default"]["OPTIONS"] = {"timeout": 0.5}
