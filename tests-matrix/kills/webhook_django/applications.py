"""What its servers serve."""

from typing import Any

from django.core.asgi import get_asgi_application
from django.core.wsgi import get_wsgi_application

from kills.webhook_saga import held_asgi, held_wsgi


def wsgi() -> Any:
    return held_wsgi(get_wsgi_application())


def asgi() -> Any:
    return held_asgi(get_asgi_application())
