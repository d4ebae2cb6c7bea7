"""The drivers, one for each way of using a plugin; those whose plugin is not installed are skipped, loudly."""

from __future__ import annotations

import importlib

__all__ = ["DRIVERS", "load"]

DRIVERS = {
    "bare-asgi": "contract.drivers.bare:BareASGIDriver",
    "bare-wsgi": "contract.drivers.bare:BareWSGIDriver",
    "django": "contract.drivers.django:DjangoDriver",
    "django-async": "contract.drivers.django:AsyncDjangoDriver",
    "django-async-memory": "contract.drivers.django:AsyncMemoryDjangoDriver",
    "django-memory": "contract.drivers.django:MemoryDjangoDriver",
    "fastapi": "contract.drivers.fastapi:FastAPIDriver",
    "flask": "contract.drivers.flask:FlaskDriver",
}
"""Name and class; nothing is imported before it is known to be there."""


def load(name: str) -> type:
    """Return a driver's class; ImportError when its plugin or framework is missing."""
    module, _, attribute = DRIVERS[name].partition(":")
    driver: type = getattr(importlib.import_module(module), attribute)
    importlib.import_module(driver.package)
    return driver
