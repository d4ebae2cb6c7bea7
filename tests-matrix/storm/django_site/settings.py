"""Settings as ``startproject`` writes them, on the database that the storm names; sagas are kept in it."""

import os
from typing import Any
from urllib.parse import parse_qs, urlsplit

SECRET_KEY = "storm"
ALLOWED_HOSTS = ["127.0.0.1"]
INSTALLED_APPS = ["django_sagaz", "storm.django_site"]
MIDDLEWARE = ["storm.django_site.middleware.dying"]
ROOT_URLCONF = "storm.django_site.urls"
WSGI_APPLICATION = "storm.django_site.wsgi.application"
USE_TZ = True

_url = urlsplit(os.environ["SAGAZ_STORAGE_URL"])


def _database() -> dict[str, Any]:
    # The file has no options: a rollback journal, and transactions that begin deferred.
    if _url.scheme == "sqlite":
        return {"ENGINE": "django.db.backends.sqlite3", "NAME": _url.path[1:]}
    host = _url.hostname or parse_qs(_url.query)["host"][0]
    name = _url.path.removeprefix("/")
    kept = {"CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}
    return {"ENGINE": "django.db.backends.postgresql", "NAME": name, "USER": _url.username, "HOST": host, **kept}


DATABASES = {"default": _database()}

_OTHERS = ("SAGAZ_STORAGE_URL", "SAGAZ_TEST_")

SAGAZ = {
    name.removeprefix("SAGAZ_"): value
    for name, value in os.environ.items()
    if name.startswith("SAGAZ_") and not name.startswith(_OTHERS)
}
