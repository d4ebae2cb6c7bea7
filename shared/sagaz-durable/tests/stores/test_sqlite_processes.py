"""Several processes on one SQLite file, forks, and the end of the interpreter."""

from __future__ import annotations

import time
from collections import Counter
from itertools import chain

import pytest
from sqlite_processes import finished, started

from sagaz_durable.testing.store_conformance.builders import LEASE, new

pytestmark = pytest.mark.anyio

CLAIM_ALL = """
    async def main():
        store = SQLiteStore(ConnectionThread(PATH, busy_seconds=30))
        await store.open()
        print("ready", flush=True)
        sys.stdin.readline()
        while runs := await store.claim(f"w{os.getpid()}", 5, 60, KNOWN):
            done = [RunWrite(run.saga_id, f"w{os.getpid()}", run.attempt, status="completed") for run in runs]
            assert all(await store.write(done))
            print(*[run.saga_id for run in runs], sep="\\n", flush=True)
        await store.close()
    asyncio.run(main())
"""

OPEN = """
    async def main():
        print("ready", flush=True)
        sys.stdin.readline()
        store = SQLiteStore(ConnectionThread(PATH, busy_seconds=30))
        await store.open()
        await store.insert([NewRun(str(os.getpid()), "S", "{}", "f")], 30)
        print(await store.store_id())
        await store.close()
    asyncio.run(main())
"""


def together(path, code, count):
    """Run processes that begin at the same moment; return what each printed."""
    processes = [started(path, code) for _ in range(count)]
    try:
        for process in processes:
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            process.stdin.write("\n")
            process.stdin.flush()
        return [finished(process) for process in processes]
    finally:
        for process in processes:
            process.kill()


async def test_two_processes_claim_five_hundred_runs_exactly_once_each(sqlite_store, tmp_path):
    runs = [new() for _ in range(500)]
    await sqlite_store.insert(runs, LEASE)
    shares = [out.split() for out in together(tmp_path / "sagaz.db", CLAIM_ALL, 2)]
    assert Counter(chain.from_iterable(shares)) == Counter(run.saga_id for run in runs)
    assert (await sqlite_store.stats()).counts["completed"] == 500


def test_ten_processes_open_the_same_new_file_at_once(tmp_path):
    ids = together(tmp_path / "sagaz.db", OPEN, 10)
    assert len(ids) == 10
    assert len(set(ids)) == 1


FORK = """
    store = SQLiteStore(ConnectionThread(PATH))

    async def insert(store, name):
        await store.open()
        await store.insert([NewRun(name, "S", "{}", "f")], 30)

    def in_a_fork(*attempts):
        pid = os.fork()
        if pid == 0:
            for attempt in attempts:
                try:
                    asyncio.run(attempt())
                except Exception as error:
                    print(type(error).__name__, error)
            sys.stdout.flush()
            os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
"""


def test_use_after_a_fork_is_refused_and_harms_nobody(tmp_path):
    code = """
    asyncio.run(insert(store, "parent"))
    another = SQLiteStore(ConnectionThread(PATH))
    in_a_fork(lambda: store.stats(), store.close, lambda: store.stats(), store.open, another.open)
    asyncio.run(store.insert([NewRun("parent again", "S", "{}", "f")], 30))
    print(sorted(run.saga_id for run in asyncio.run(store.find(RunFilter()))))
    """
    used, closed, opened, opened_anew, rows = finished(started(tmp_path / "sagaz.db", FORK + code)).splitlines()
    assert used.startswith("StoreUnavailable")
    assert "Open it after the fork" in used
    assert "is not open" in closed
    for line in (opened, opened_anew):
        assert line.startswith("StoreUnavailable")
        assert "or close it before" in line
    assert rows == "['parent', 'parent again']"


def test_a_store_that_was_closed_before_a_fork_is_opened_again_after_it(tmp_path):
    code = """
    asyncio.run(insert(store, "parent"))
    asyncio.run(store.close())
    in_a_fork(lambda: insert(store, "child"), lambda: insert(SQLiteStore(ConnectionThread(PATH)), "child's other"))
    asyncio.run(store.open())
    print(sorted(run.saga_id for run in asyncio.run(store.find(RunFilter()))))
    """
    assert finished(started(tmp_path / "sagaz.db", FORK + code)) == """['child', "child's other", 'parent']\n"""


def test_a_memory_store_is_refused_after_a_fork_too(tmp_path):
    code = """
        from sagaz_durable.stores.memory.store import MemoryStore
        store = MemoryStore()
        asyncio.run(store.open())
        pid = os.fork()
        if pid == 0:
            try:
                asyncio.run(store.stats())
            except Exception as error:
                print(type(error).__name__, error, flush=True)
            os._exit(0)
        os.waitpid(pid, 0)
    """
    assert finished(started(tmp_path, code)).startswith("StoreUnavailable")


@pytest.mark.parametrize("end", ["", "sys.exit(0)", "store = None"])
def test_a_store_that_is_never_closed_does_not_keep_the_process(tmp_path, end):
    code = f"""
        store = SQLiteStore(ConnectionThread(PATH))
        async def main():
            await store.open()
            await store.insert([NewRun("a", "S", "{{}}", "f")], 30)
        asyncio.run(main())
        print("end", flush=True)
        {end}
    """
    process = started(tmp_path / "sagaz.db", code)
    assert process.stdout.readline() == "end\n"
    ended_at = time.monotonic()
    finished(process)
    assert time.monotonic() - ended_at < 5


def test_what_was_committed_survives_a_kill(tmp_path):
    code = """
        async def main():
            store = SQLiteStore(ConnectionThread(PATH))
            await store.open()
            for n in range(1000):
                await store.insert([NewRun(f"{n}", "S", "{}", "f")], 30)
                print(n, flush=True)
        asyncio.run(main())
    """
    process = started(tmp_path / "sagaz.db", code)
    for expected in range(20):
        assert process.stdout.readline() == f"{expected}\n"
    process.kill()
    acknowledged = 20 + len(process.stdout.readlines())
    process.communicate()
    count = """
        async def main():
            store = SQLiteStore(ConnectionThread(PATH))
            await store.open()
            print((await store.stats()).counts["pending"])
            await store.close()
        asyncio.run(main())
    """
    assert acknowledged <= int(finished(started(tmp_path / "sagaz.db", count))) <= acknowledged + 1
