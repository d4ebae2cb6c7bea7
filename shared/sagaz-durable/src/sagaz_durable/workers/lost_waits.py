"""Runs that wait in a step which this deployment's class has not: nobody would ever call it again."""

from __future__ import annotations

import logging

from sagaz_durable.engine.environment import ExecutionEnvironment
from sagaz_integration_core.error_text import error_text
from sagaz_integration_core.errors import SagazError

__all__ = ["rouse_lost_waits"]

logger = logging.getLogger(__name__)


async def rouse_lost_waits(environment: ExecutionEnvironment) -> None:
    """Make such runs due, so that they end as their journal tells."""
    known = environment.registry.known_steps()
    try:
        count = await environment.store.rouse_lost(known) if known else 0
    except SagazError as error:
        logger.debug("Waits of steps that are gone were not looked for: %s", error_text(error))
        return
    if count:
        logger.warning(
            "%d runs wait in a step that this deployment has not. They are due now, and end as failed unless another "
            "live process has it. Deploy a version that has it, and retry them.", count,
        )  # fmt: skip
