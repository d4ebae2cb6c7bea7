"""The example applications, as `demo.py` serves them: a webhook that was stored is not answered while it is told so.

While there is a file ``$SHOP_HOLD/webhook``, no webhook is answered; ``$SHOP_HOLD/stored`` tells that one was stored.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from pathlib import Path
from typing import Any

HOLD = Path(os.environ["SHOP_HOLD"])

Message = MutableMapping[str, Any]


def is_held(path: str) -> bool:
    """Whether an answer has to wait, which is told to whoever holds it."""
    if not (path.startswith("/webhooks/") and (HOLD / "webhook").exists()):
        return False
    (HOLD / "stored").touch()
    return True


def fastapi_app() -> Callable[..., Awaitable[None]]:
    from main import app

    async def serve(scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[..., Any]) -> None:
        async def send_later(message: Message) -> None:
            while is_held(scope.get("path", "")):  # noqa: ASYNC110 - the file is another process's
                await asyncio.sleep(0.02)
            await send(message)

        await app(scope, receive, send_later)

    return serve


def flask_app() -> Any:
    from main import app

    app.wsgi_app = held(app.wsgi_app)
    return app


def held(app: Callable[..., Iterable[bytes]]) -> Callable[..., Iterable[bytes]]:
    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        answer = app(environ, start_response)
        while is_held(environ["PATH_INFO"]):
            time.sleep(0.02)
        return answer

    return serve


def serve_django(port: int) -> None:
    """Serve it as ``manage.py runserver`` does."""
    sys.path.insert(0, os.getcwd())
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    from django.core.servers.basehttp import run
    from django.core.wsgi import get_wsgi_application

    run("127.0.0.1", port, held(get_wsgi_application()), threading=True)


if __name__ == "__main__":
    serve_django(int(sys.argv[1]))
