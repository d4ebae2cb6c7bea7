"""How FastAPI's users spell settings, commands and extras."""

from __future__ import annotations

from sagaz_durable.settings.wording import Wording

__all__ = ["WORDING"]

WORDING = Wording(
    commands="`fastapi-sagaz {name} MODULE:APP{options}`",
    distribution="fastapi-sagaz",
    sagas="create_lifespan(sagas=[…])",
    worker="create_lifespan(worker=True)",
    session_factory="create_lifespan(session_factory=…)",
)
