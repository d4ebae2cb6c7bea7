"""What a server or a worker tells once, at its start, of settings that do not do what their names promise."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagaz_durable.runtime.runtime import SagazRuntime
    from sagaz_durable.settings.settings import Settings

__all__ = ["unbuilt", "warn_at_start"]

logger = logging.getLogger(__name__)

_UNBUILT = {
    "metrics": "metrics are counted in this process's memory, where nothing reads them",
    "tracing": "no span is made, because sagaz's listener never enters its tracing helper",
}


def unbuilt(settings: Settings) -> dict[str, str]:
    """Return the settings that were given as true and have no use yet, each with what is missing."""
    return {name: why for name, why in _UNBUILT.items() if name in settings.explicit and getattr(settings, name)}


def warn_at_start(runtime: SagazRuntime) -> None:
    """Log one WARNING for what has no use yet, and one for a memory store that no setting names."""
    if found := unbuilt(runtime.settings):
        names = " and ".join(runtime.settings.wording.setting(name) for name in found)
        logger.warning("%s: accepted, and without use yet: %s. Leave it out.", names, "; ".join(found.values()))
    if runtime.store.embedded and "storage_url" not in runtime.settings.explicit:
        logger.warning(
            "Sagas are kept in this process's memory and lost with it, because no setting says where to keep them. Set "
            "%s: sqlite:///sagaz.db or postgresql://…, or memory:// if that is what you want.",
            runtime.settings.wording.setting("storage_url"),
        )
