"""The Celery application that this process tells of committed starts, if it is told of one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from django_sagaz._project.wording import WORDING

if TYPE_CHECKING:
    from sagaz_durable.celery import CeleryDispatch

__all__ = ["is_registered", "register", "send"]

logger = logging.getLogger(__name__)

# As Django's settings and applications: one for each process. The project's Celery application is made before these.
_registered: CeleryDispatch | None = None


def register(dispatch: CeleryDispatch) -> None:
    """Have `send` tell this one's workers from now on."""
    global _registered
    _registered = dispatch


def is_registered() -> bool:
    """Whether this process knows the project's Celery application."""
    return _registered is not None


def send(saga_ids: Sequence[str]) -> None:
    """Tell Celery's workers of runs that are committed; what they cannot be told of now, the sweep finds."""
    if _registered is None:
        logger.error(
            "%s is 'celery', and no Celery application is registered: nobody was told of %d runs. %s.",
            WORDING.setting("dispatch"), len(saga_ids), WORDING.celery,
        )  # fmt: skip
    else:
        _registered.send(saga_ids)
