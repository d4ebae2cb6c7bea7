"""An application's settings: read at their first use, so that what is configured after ``init_app`` counts too."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from sagaz_durable.settings.rules import RULES
from sagaz_durable.settings.settings import Settings, arguments, environment, prefixed
from sagaz_durable.settings.wording import Wording
from sagaz_integration_core.errors import RuntimeNotOpen, SettingsError

if TYPE_CHECKING:
    from flask import Flask

__all__ = ["WORDING", "AppSettings"]

WORDING = Wording(
    commands="`flask sagaz {name}{options}`",
    distribution="flask-sagaz",
    sagas="SagazExtension(sagas=[…])",
    worker="SagazExtension(worker=True)",
    session_factory="SagazExtension(session_factory=db.session)",
    celery="Call flask_sagaz.celery.register(celery, app) where the application is made",
)
"""How Flask's users spell settings, commands and extras."""

_URL = WORDING.setting("storage_url")
_KEYS = tuple(map(WORDING.setting, RULES))


class AppSettings:
    """What ``app.config`` and the environment say about sagas.

    Args:
        storage_url: The extension's argument, which wins over both.
        worker: Whether the extension runs a worker inside the process.

    Raises:
        SettingsError: One of them is wrong already.
    """

    def __init__(self, app: Flask, storage_url: str | None, *, worker: bool) -> None:
        self._app = weakref.ref(app)
        self._storage_url = storage_url
        self._worker = worker
        self._url_at_first = app.config.get(_URL)
        self._seen: tuple[object, ...] = ()
        self._read: Settings | None = None
        self._load()

    def get(self) -> Settings:
        """Return the settings as they were when they were first used.

        Raises:
            SettingsError: One of them is wrong, or contradicts another one.
        """
        if self._read is None:
            settings = self._load()
            self._seen, self._read = self._given(), settings
        return self._read

    def forget(self) -> None:
        """Have the next use read them again."""
        self._read = None

    def changed(self) -> list[str]:
        """Return the keys of ``app.config`` that have changed since the settings were read."""
        if self._read is None:
            return []
        given = self._given()
        if given == self._seen:
            return []
        return [key for key, now, then in zip(_KEYS, given, self._seen, strict=True) if now != then]

    def _given(self) -> tuple[object, ...]:
        return tuple(map(self._living().config.get, _KEYS))

    def _living(self) -> Flask:
        app = self._app()
        if app is None:
            raise RuntimeNotOpen("The application of these sagas was dropped. Keep a reference to it.")
        return app

    def _load(self) -> Settings:
        config = self._living().config
        sources = arguments(storage_url=self._storage_url), prefixed(config), environment()
        settings = Settings.load(*sources, wording=WORDING)
        if self._storage_url is not None and config.get(_URL) != self._url_at_first:
            raise SettingsError(
                f"{_URL} was set in app.config after SagazExtension(storage_url=…), which wins over it. Keep one of "
                f"them: with {_URL} alone, what tests put into app.config counts."
            )
        if self._worker and settings.dispatch == "celery":
            raise SettingsError(
                f"{WORDING.worker} has runs executed in this process, and {WORDING.setting('dispatch')}=celery in "
                "Celery's. Keep one of them."
            )
        return settings
