"""Settings. What concerns sagas is marked; what the environment leaves open is safe for production."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path
from typing import Any

from django.core.management.utils import get_random_secret_key

BASE_DIR = Path(__file__).resolve().parent.parent

# DJANGO_DEBUG=1 is for your own machine: without it, every request over plain HTTP is redirected to HTTPS.
DEBUG = os.environ.get("DJANGO_DEBUG") == "1"
# Sagas: it signs the tokens of approvals, which every process has to read. Set the variable in production.
SECRET_KEY = os.environ.get("DJANGO_SECRET_KEY") or (
    "django-insecure-and-for-your-own-machine-only" if DEBUG else get_random_secret_key()
)
# Sagas: what the payment provider signs its webhooks with. For your own machine it is ``a-secret-of-the-example-shop``.
PAYMENTS_SECRET = os.environ.get("SHOP_PAYMENTS_SECRET") or (
    "whsec_YS1zZWNyZXQtb2YtdGhlLWV4YW1wbGUtc2hvcA==" if DEBUG else f"whsec_{b64encode(os.urandom(32)).decode()}"
)
ALLOWED_HOSTS = os.environ.get("DJANGO_ALLOWED_HOSTS", "localhost,127.0.0.1").split(",")

SECURE_SSL_REDIRECT = not DEBUG
SECURE_HSTS_SECONDS = 0 if DEBUG else int(os.environ.get("DJANGO_HSTS_SECONDS", 31_536_000))
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = not DEBUG
CSRF_COOKIE_SECURE = not DEBUG
if os.environ.get("DJANGO_BEHIND_PROXY") == "1":
    # Only behind a proxy that always sets this header itself.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

INSTALLED_APPS = [
    "django_sagaz",  # Sagas: their tables come with `manage.py migrate`.
    "orders",  # Its sagas.py is found.
]

MIDDLEWARE = [
    "django_sagaz.middleware.SagaContextMiddleware",  # Sagas: the correlation id of each request.
    "django.middleware.security.SecurityMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "orders.middleware.ShopMiddleware",  # Who may order, and what errors are answered with.
]

ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
USE_TZ = True
TIME_ZONE = "UTC"

DATABASES: dict[str, dict[str, Any]] = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ.get("SHOP_DATABASE", BASE_DIR / "db.sqlite3"),
        # Several processes write: a transaction that waits for the lock from its start cannot find it taken later.
        "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
    }
}

# Sagas: nothing has to be set. Runs are kept in the default database, so that they can start with its transactions.
SAGAZ = {
    "LOGGING": True,
    "LEASE_SECONDS": os.environ.get("SAGAZ_LEASE_SECONDS", 30),
    "RENEW_SECONDS": os.environ.get("SAGAZ_RENEW_SECONDS", 10),
    "POLL_SECONDS": os.environ.get("SAGAZ_POLL_SECONDS", 1),
}
