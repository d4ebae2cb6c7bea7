"""The stores that several processes share."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from support import pg


@pytest.fixture(params=["sqlite", "postgres"])
def url(request, tmp_path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'sagaz.db'}"
        return
    if reason := pg.why_not():
        pytest.skip(f"PostgreSQL: {reason}")
    with ExitStack() as stack:
        yield stack.enter_context(pg.database(stack.enter_context(pg.shared_server())))
