"""The project that the tests run in."""

import json
import os
import tempfile
from urllib.parse import parse_qs, urlsplit

FOLDER = tempfile.mkdtemp(prefix="sagaz-django-")
SECRET_KEY = "tests"
ROOT_URLCONF = "testproject.urls"
USE_TZ = True
ALLOWED_HOSTS = ["127.0.0.1", "testserver"]
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
STATIC_URL = "static/"
# Hashing what protects nothing would take the tests' time.
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
INSTALLED_APPS = ["django.contrib.contenttypes", "django_sagaz", "testproject.shop"]
MIDDLEWARE = ["django_sagaz.middleware.SagaContextMiddleware"]
TEMPLATES = []

# The admin is optional: with this variable, the project does without it.
if "TESTPROJECT_PLAIN" not in os.environ:
    _contrib = ("admin", "auth", "messages", "sessions", "staticfiles")
    # Their tables are made at once, as they are now.
    MIGRATION_MODULES = dict.fromkeys(("contenttypes", *_contrib))
    INSTALLED_APPS += [f"django.contrib.{name}" for name in _contrib]
    MIDDLEWARE += [
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
        "django.contrib.messages.middleware.MessageMiddleware",
    ]
    _context = ("template.context_processors.request", "contrib.auth.context_processors.auth")
    _context += ("contrib.messages.context_processors.messages",)
    TEMPLATES = [
        {
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": [f"django.{name}" for name in _context]},
        }
    ]

_pg = urlsplit(os.environ.get("TESTPROJECT_PG", "postgresql://postgres@/postgres"))

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": f"{FOLDER}/default.db",
        "TEST": {"NAME": f"{FOLDER}/test.db"},
        "OPTIONS": {"timeout": 20},
    },
    "memory": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:", "TEST": {"DEPENDENCIES": []}},
    "pg": {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": "sagaz",
        "USER": _pg.username,
        "HOST": _pg.hostname or parse_qs(_pg.query).get("host", [""])[0],
        "PORT": _pg.port or "",
        "PASSWORD": _pg.password or "",
        "TEST": {"DEPENDENCIES": []},
    },
}

if "TESTPROJECT_MARIA" in os.environ:
    DATABASES["maria"] = {
        "ENGINE": "django.db.backends.mysql",
        "NAME": "sagaz",
        "USER": "root",
        "HOST": os.environ["TESTPROJECT_MARIA"],
        "TEST": {"DEPENDENCIES": []},
    }

# Other processes than the tests' own: the databases that the tests have made.
if "TESTPROJECT_NAMES" in os.environ:
    _names = json.loads(os.environ["TESTPROJECT_NAMES"])
    # And no others: Django 6.1 lets each command check whatever is listed.
    DATABASES = {alias: DATABASES[alias] for alias in {"default", *_names}}
    for _alias, _values in _names.items():
        DATABASES[_alias].update(_values)
SAGAZ = json.loads(os.environ.get("TESTPROJECT_SAGAZ", "{}"))
