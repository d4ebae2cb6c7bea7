"""What an application's sagas are asked for, with tokens for approvals that its own secret signs."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from itsdangerous import BadData, URLSafeTimedSerializer
from itsdangerous.encoding import base64_decode, base64_encode

from sagaz_durable import sagas
from sagaz_durable.operations.approvals import chosen_signer
from sagaz_integration_core.errors import SettingsError

if TYPE_CHECKING:
    from flask import Flask

    from sagaz_durable.signing import Signer

__all__ = ["AppSigner", "Sagas"]


class Sagas(sagas.Sagas):
    """Everything that can be done with the sagas of a Flask application."""

    def signer(self) -> Signer:
        """Return what signs tokens: the application's ``SECRET_KEY``, unless ``SAGAZ_SIGNING_KEYS`` is given."""
        return chosen_signer(self._runtime.settings, AppSigner(self._runtime.app))


class AppSigner:
    """Signs with the application's ``SECRET_KEY``; those of ``SECRET_KEY_FALLBACKS`` verify, too."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    def sign(self, values: Sequence[Any]) -> str:
        """Return what itsdangerous makes of it."""
        token: str = self._serializer().dumps(list(values))
        return token

    def unsign(self, token: str) -> Any:
        """Return what was signed, or None."""
        signature = token.rpartition(".")[2]
        try:
            values = self._serializer().loads(token)
            # itsdangerous compares bytes, for which several texts stand.
            is_as_made = base64_encode(base64_decode(signature)) == signature.encode()
        except BadData:
            return None
        return values if is_as_made else None

    def _serializer(self) -> URLSafeTimedSerializer:
        secret, former = self._app.secret_key, self._app.config.get("SECRET_KEY_FALLBACKS") or ()
        if not secret:
            raise SettingsError(
                "The application has no SECRET_KEY, and tokens for approvals are signed with it. Set "
                'app.config["SECRET_KEY"], as for sessions, the same in every process and after a restart; make one '
                "with python -c 'import secrets; print(secrets.token_urlsafe(32))'"
            )
        how = {"key_derivation": "hmac", "digest_method": hashlib.sha256}
        secrets: Any = [*former, secret]  # Of texts and bytes: itsdangerous takes both.
        return URLSafeTimedSerializer(secrets, salt="flask_sagaz approval", signer_kwargs=how)
