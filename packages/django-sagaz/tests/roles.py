"""Users of a database server with as many rights as a test gives them."""

from __future__ import annotations

import re
import secrets
from contextlib import contextmanager
from pathlib import Path

from django.db import connections

from sagaz_durable.stores.grants import WRITING, grants

__all__ = ["as_user", "documented", "execute", "give", "user_of"]


def execute(home, *statements):
    with connections[home].cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)


@contextmanager
def user_of(home):
    """Make a user who may do nothing; give the name."""
    name = f"app_{secrets.token_hex(4)}"
    maria = home == "maria"
    execute(home, f"CREATE USER {name}@localhost" if maria else f"CREATE ROLE {name} LOGIN")
    try:
        yield name
    finally:
        execute(home, *([f"DROP USER {name}@localhost"] if maria else [f"DROP OWNED BY {name}", f"DROP ROLE {name}"]))


def give(home, name, *, only_reads=False, leave_out=(), database=None):
    """Give a user the rights on all tables but those that are left out."""
    if home != "maria":
        revoked = [f"REVOKE ALL ON {table} FROM {name}" for table in leave_out]
        execute(home, *grants(name, "public", only_reads=only_reads), *revoked)
        return
    place = f"{database or connections[home].settings_dict['NAME']}."
    for statement in documented():
        if not any(f".{table} " in statement for table in leave_out):
            statement = statement.replace("shop.", place).replace("app@", f"{name}@")
            execute(home, statement.replace(", ".join(WRITING), "SELECT") if only_reads else statement)


def documented():
    """Return the statements for MariaDB as the page on Django has them."""
    page = (Path(__file__).parents[3] / "docs/howto/django.md").read_text()
    return re.findall(r"^GRANT .* TO app@localhost;$", page, re.MULTILINE)


@contextmanager
def as_user(home, name):
    """Have this process's connections be another user's."""
    own = connections.settings[home]
    before = own["USER"]
    connections[home].close()
    own["USER"] = connections[home].settings_dict["USER"] = name
    try:
        yield
    finally:
        connections[home].close()
        own["USER"] = connections[home].settings_dict["USER"] = before
