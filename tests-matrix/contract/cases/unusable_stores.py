"""A store that is missing, unwritable or locked: said clearly, and nothing is silently dropped."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from contract.case import case
from contract.site import Site

SQLITE = ("sqlite",)


def _file(site: Site) -> Path:
    return Path(site.driver.spec.options["STORAGE_URL"].removeprefix("sqlite:///"))


@case("own_store", stores=SQLITE, started=False)
async def a_folder_that_does_not_exist_fails_the_start_up_naming_the_file(site: Site) -> None:
    missing = _file(site).parent / "nowhere" / "sagaz.db"
    with pytest.raises(Exception, match="directory that exists") as caught:
        async with site.another(store={"STORAGE_URL": f"sqlite:///{missing}"}):
            pass
    assert str(missing) in str(caught.value)


@case("own_store", stores=SQLITE, started=False)
async def a_file_that_is_no_database_fails_the_start_up_and_is_left_alone(site: Site) -> None:
    text = "not a database, " * 100
    _file(site).write_text(text)
    with pytest.raises(Exception, match="not an SQLite database"):
        async with site:
            pass
    assert _file(site).read_text() == text


@case("inline", "own_store", stores=SQLITE, started=False)
async def after_a_failed_start_up_the_mended_application_starts(site: Site) -> None:
    folder = _file(site).parent / "later"
    late = site.another(store={"STORAGE_URL": f"sqlite:///{folder / 'sagaz.db'}"})
    with pytest.raises(Exception, match="directory that exists"):
        async with late:
            pass
    folder.mkdir()
    async with late:
        assert (await late.post("/inline/order", {"order": 1})).status == 200


@contextmanager
def _locked_elsewhere(path: Path) -> Iterator[None]:
    """Another process's write transaction."""
    program = (
        "import sqlite3, sys\n"
        "db = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "db.execute('BEGIN IMMEDIATE')\n"
        "print('locked', flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield
        assert process.stdin is not None
        process.stdin.close()


@case("own_store", stores=SQLITE, options={"SQLITE_BUSY_SECONDS": 0.1})
async def a_file_that_another_process_locks_for_too_long_fails_the_request(site: Site) -> None:
    with _locked_elsewhere(_file(site)):
        for kind in site.kinds:
            answer = await site.post(f"/{kind}/order", {"order": 1})
            body = await site.expect_refusal(answer, "StoreUnavailable", 503)
            assert "another process" in body["message"]
            assert site.driver.setting.format("SQLITE_BUSY_SECONDS") in body["message"]
    for kind in site.kinds:
        await site.start(kind)
    assert {run.status for run in await site.all_ended()} == {"completed"}


@case("inline", "own_store", stores=SQLITE)
async def a_lock_that_is_given_up_in_time_is_waited_for(site: Site) -> None:
    with _locked_elsewhere(_file(site)):
        run = _soon(site.post("/inline/order", {"order": 1}))
        await _not_done(run)
    assert (await run).status == 200


@case("inline", "own_store", stores=SQLITE)
async def a_run_inside_this_processs_own_write_transaction_is_refused_with_the_reason(site: Site) -> None:
    """It would wait for itself for ever."""
    with closing(sqlite3.connect(_file(site), isolation_level=None)) as own:
        own.execute("BEGIN IMMEDIATE")
        answer = await site.post("/inline/order", {"order": 1})
        body = await site.expect_refusal(answer, "WriteLockHeld", 503)
        assert "this very process" in body["message"]
        own.execute("ROLLBACK")
    assert (await site.post("/inline/order", {"order": 1})).status == 200


def _soon(work):
    import asyncio

    return asyncio.ensure_future(work)


async def _not_done(task) -> None:
    import asyncio

    done, _ = await asyncio.wait([task], timeout=0.4)
    assert not done, "the lock is held, so nothing can have been recorded"
