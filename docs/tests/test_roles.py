"""The documented roles can do what the page says: all that an application needs, or all that looking needs."""

from __future__ import annotations

import asyncio
import re
import secrets
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from click.testing import CliRunner

from sagaz_durable.runtime.runtime import SagazRuntime
from sagaz_durable.sagas import Sagas
from sagaz_durable.settings.settings import Settings
from sagaz_durable.stores.grants import grants
from sagaz_integration_core.contract.schema import TABLES

ROOT = Path(__file__).parents[2]
sys.path.append(str(ROOT / "shared/sagaz-durable/tests"))

APP = """
from fastapi import FastAPI
from fastapi_sagaz import Saga, action, create_lifespan

class Order(Saga):
    @action("charge")
    async def charge(self, ctx):
        if ctx.get("decline"):
            raise ValueError("declined")

app = FastAPI(lifespan=create_lifespan(sagas=[Order]))
"""


def documented(role: str) -> str:
    page = (ROOT / "docs/howto/postgresql.md").read_text()
    [block] = [sql for sql in re.findall(r"```sql\n(.*?)```", page, re.DOTALL) if f" TO {role};" in sql]
    return block


def test_the_page_has_the_statements_of_the_errors():
    assert documented("shop").splitlines() == list(grants("shop", "public"))
    assert documented("shop_reader").splitlines() == list(grants("shop_reader", "public", only_reads=True))
    reference = (ROOT / "docs/reference.md").read_text()
    assert all(f"`{table}`" in reference for table in TABLES)


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    from pg import database, shared_server

    (tmp_path / "app_of_roles.py").write_text(APP)
    monkeypatch.syspath_prepend(str(tmp_path))
    with shared_server() as server, database(server) as url:
        yield url
    sys.modules.pop("app_of_roles", None)


def execute(url: str, statement: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement.encode())


def command(url: str, word: str, *arguments: str) -> tuple[int, str]:
    from fastapi_sagaz.cli import main

    done = CliRunner().invoke(main, [word, "app_of_roles:app", *arguments], env={"SAGAZ_STORAGE_URL": url})
    return done.exit_code, done.output


async def begin(url: str) -> list[str]:
    from app_of_roles import Order

    runtime = SagazRuntime(Settings(storage_url=url), sagas=[Order])
    await runtime.open()
    try:
        return [await Sagas(runtime).start(Order, {}) for _ in range(2)]
    finally:
        await runtime.close()


def test_with_the_documented_rights_every_command_works_and_the_reader_only_looks(url: str) -> None:
    from pg import at

    assert command(url, "migrate")[0] == 0
    names = {"shop": f"shop_{secrets.token_hex(4)}", "shop_reader": f"reader_{secrets.token_hex(4)}"}
    for role, name in names.items():
        execute(url, f"CREATE ROLE {name} LOGIN")
        execute(url, documented(role).replace(f" TO {role};", f" TO {name};"))
    shop, reader = (at(url, user=name) for name in names.values())
    try:
        first, second = asyncio.run(begin(shop))
        reading = [("list",), ("list", "--runs"), ("show", second, "--context"), ("events",)]
        writing = [("cancel", first), ("worker", "--drain"), ("events", "--retry", "--all"), ("retry", "--all")]
        writing += [("prune", "--contexts", first, "--by", "ann"), ("prune", "--older-than", "0s")]
        for arguments in reading:
            assert [command(role, *arguments)[0] for role in (shop, reader)] == [0, 0], arguments
        for arguments in writing:
            code, said = command(reader, *arguments)
            assert (code, "has not the right to INSERT, UPDATE, DELETE" in said) == (1, True), said
            code, said = command(shop, *arguments)
            assert code == 0, said
        code, said = command(shop, "resolve", second, "--as", "completed", "--reason", "x")
        assert (code, "There is no run" in said) == (1, True), said
        assert [command(shop, "check")[0], command(shop, "migrate")[0]] == [0, 0]
        assert [command(reader, "check")[0], command(reader, "check", "--read-only")[0]] == [1, 0]
    finally:
        for name in names.values():
            execute(url, f"DROP OWNED BY {name}")
            execute(url, f"DROP ROLE {name}")
