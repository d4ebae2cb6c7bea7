"""A browser at a live server; its imports are in the fixtures, for those who have neither."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture
def alias():
    return "default"


@pytest.fixture(scope="session")
def chromium(live_server, tmp_path_factory):
    from browser import Browser

    chromium = Browser(tmp_path_factory.mktemp("profile"), live_server.url)
    yield chromium
    chromium.quit()


@pytest.fixture
def browser(home, transactional_db, chromium):
    yield chromium
    # Not to ask for anything while the next test begins.
    chromium.driver.get("about:blank")
    chromium.driver.delete_all_cookies()


@pytest.fixture
def pictures(tmp_path):
    """Where pages are kept as pictures: SAGAZ_TEST_PICTURES, or nowhere for long."""
    folder = Path(os.environ.get("SAGAZ_TEST_PICTURES", tmp_path))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
