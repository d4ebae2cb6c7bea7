"""A browser at a live server; its imports are in the fixtures, for those who have neither."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def alias():
    return "default"


@pytest.fixture
def browser(home, transactional_db, live_server, tmp_path):
    from browser import Browser

    browser = Browser(tmp_path / "profile", live_server.url)
    yield browser
    browser.quit()


@pytest.fixture
def pictures(tmp_path):
    """Where pages are kept as pictures: SAGAZ_TEST_PICTURES, or nowhere for long."""
    folder = Path(os.environ.get("SAGAZ_TEST_PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
