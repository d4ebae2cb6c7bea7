"""What all of tests-matrix shares: the event loop that tests run on, and the marker of the storms."""

from __future__ import annotations

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker with which a tox environment of its own selects the storms."""
    config.addinivalue_line("markers", "storm: a seeded storm of kills with real processes; see storm/__init__.py")


@pytest.fixture
def anyio_backend():
    return "asyncio"
