"""A Django project: a shop with one model, and what the contender at hand installs."""

from __future__ import annotations

import json
import os
from urllib.parse import parse_qs, urlsplit

SECRET_KEY = "benchmarks"
USE_TZ = True
ALLOWED_HOSTS = ["*"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
ROOT_URLCONF = "benchmarks.programs.shop.urls"
LOGGING_CONFIG = None
INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "benchmarks.programs.shop",
    *json.loads(os.environ.get("BENCH_DJANGO_APPS", "[]")),
]
MIDDLEWARE: list[str] = []
_place = os.environ.get("BENCH_DATABASE", "sqlite://")
_url = urlsplit(_place)

if _url.scheme == "postgresql":
    _database = {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": _url.path[1:],
        "USER": _url.username,
        "PASSWORD": _url.password or "",
        "HOST": _url.hostname or parse_qs(_url.query).get("host", [""])[0],
        "PORT": _url.port or "",
        "CONN_MAX_AGE": None,
    }
else:
    _database = {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": _url.path[1:] or ":memory:",
        # As Django's documentation has it for production: writers wait for each other, and a commit is one write.
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL",
        },
    }
DATABASES = {"default": _database}
SAGAZ = json.loads(os.environ.get("BENCH_SAGAZ", "{}"))
# The header that all of them take.
DJANGO_GUID = {"GUID_HEADER_NAME": "X-Correlation-ID"}
TASKS = json.loads(os.environ.get("BENCH_TASKS", "{}"))
