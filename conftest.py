"""What all suites share: a sample of the tests where time is short, and in CI no test that is skipped unseen.

``--one-in N`` runs about one in N tests, always the same ones, and at least one of each file, so that no folder is left
out. ``--variants-one-in N`` runs every test, but of those with parameters (stores, transactions, hostile values) only
about one variant in N; in CI, all of them. Tests that the command line names one by one run all.
"""

from __future__ import annotations

import os
import re
import signal
import zlib
from collections.abc import Callable, Generator
from typing import Any

import pytest

pytest.register_assert_rewrite("support.example_cases")

IN_CI = bool(os.environ.get("CI"))

MAY_BE_SKIPPED = re.compile(
    r"SAGAZ_TEST_(MARIADB|PGBOUNCER)=1|tox run -e chromium"  # those environments run them
    r"|the server of SAGAZ_TEST_POSTGRES_URL is not ours"
    r"|is not made for the \w+ store|\w+ has no "  # what a plugin's driver cannot do, of the contract's cases
    r"|(mypy|pyright) is not installed"
    r"|Memory stores every value"
    r"|schemathesis needs newer versions than the oldest"
)
"""For which reasons a test may be skipped in CI too. For any other one, something that it needs was not installed."""


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of samples."""
    parser.addoption("--one-in", type=int, default=1, metavar="N", help="run about one in N tests, some of each file")
    parser.addoption(
        "--variants-one-in", type=int, default=1, metavar="N", help="run every test, with about one in N parameters"
    )


def pytest_configure() -> None:
    """Hear Ctrl-C. A shell has what it starts in the background ignore it, and with that all that tests start."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Deselect what the sample does not need; pytest's last line counts it."""
    if any("::" in argument for argument in config.args):
        return
    kept = set(items)
    if (share := config.getoption("one_in")) > 1:
        kept = _sample(items, share, lambda item: item.path)
    elif (share := config.getoption("variants_one_in")) > 1 and not IN_CI:
        kept = _sample(items, share, lambda item: item.nodeid.partition("[")[0])
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def _sample(items: list[pytest.Item], share: int, group: Callable[[pytest.Item], Any]) -> set[pytest.Item]:
    """Return about one in ``share`` of the items, and at least one of each group."""
    numbers = {item: zlib.crc32(item.nodeid.encode()) for item in items}
    kept = {item for item, number in numbers.items() if not number % share}
    groups = {group(item) for item in kept}
    lowest: dict[Any, pytest.Item] = {}
    for item in sorted(items, key=lambda item: (numbers[item] % share, numbers[item])):
        lowest.setdefault(group(item), item)
    return kept | {item for key, item in lowest.items() if key not in groups}


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, Any, Any]:
    """In CI, fail a test that is skipped without leave."""
    return _failed_if_skipped((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, Any, Any]:
    """In CI, fail a file that is skipped without leave."""
    return _failed_if_skipped((yield))


def _failed_if_skipped(report: Any) -> Any:
    if IN_CI and report.skipped and not hasattr(report, "wasxfail"):
        _, _, reason = report.longrepr
        if not MAY_BE_SKIPPED.search(reason):
            report.outcome = "failed"
            report.longrepr = f"In CI no test may be skipped because of this machine: {reason}"
    return report
