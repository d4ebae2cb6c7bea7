"""Flask-Migrate beside the saga tables: its migrations are the application's own, and leave the sagas alone."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import ExitStack

import pytest

from support import pg

MAIN = """
import os
import flask_migrate
from flask import Flask
from flask_sagaz import Saga, SagazExtension, action, exclude_sagaz_tables
from flask_sqlalchemy import SQLAlchemy

class OrderSaga(Saga):
    @action("reserve")
    def reserve(self, ctx): ...

app = Flask(__name__)
app.config["SQLALCHEMY_DATABASE_URI"] = os.environ["SAGAZ_STORAGE_URL"].replace("postgresql:", "postgresql+psycopg:")
db = SQLAlchemy(app)
flask_migrate.Migrate(app, db, include_schemas=True, **({options}))
sagaz = SagazExtension(app, sagas=[OrderSaga])

class Order(db.Model):
    id = db.Column(db.Integer, primary_key=True)

with app.app_context():
    saga_id = sagaz.start(OrderSaga, {{}})
    for command in (flask_migrate.init, flask_migrate.migrate, flask_migrate.upgrade):
        command()
    print("STATUS", (sagaz.load_saga_state(saga_id) or {{}})["status"])
"""


@pytest.fixture(params=["sqlite", "postgres", "postgres, in a schema of their own"])
def settings(request, tmp_path):
    """The environment of an application whose runs are in the database of its own rows."""
    with ExitStack() as stack:
        if request.param == "sqlite":
            yield {"SAGAZ_STORAGE_URL": f"sqlite:///{tmp_path / 'shop.db'}"}
            return
        if reason := pg.why_not():
            pytest.skip(f"PostgreSQL: {reason}")
        url = stack.enter_context(pg.database(stack.enter_context(pg.shared_server())))
        schema = {"SAGAZ_SCHEMA": "sagas"} if "schema" in request.param else {}
        yield {"SAGAZ_STORAGE_URL": url, "SAGAZ_MIGRATE": "1", **schema}


@pytest.fixture
def migrated(tmp_path, settings):
    """Starts a saga, has Flask-Migrate make and apply a migration; returns its text and what was printed."""

    def migrated(options):
        (tmp_path / "main.py").write_text(MAIN.format(options=options))
        env = {name: value for name, value in os.environ.items() if not name.startswith("SAGAZ_")} | settings
        done = subprocess.run(
            [sys.executable, "main.py"], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False
        )
        [made] = (tmp_path / "migrations/versions").glob("*.py")
        return made.read_text(), done.stdout + done.stderr

    return migrated


def test_flask_migrate_leaves_the_sagas_alone_with_the_documented_line(migrated):
    made, printed = migrated("dict(include_object=exclude_sagaz_tables)")
    assert "op.create_table('order'" in made
    assert "op.drop_table('sagaz" not in made
    assert "STATUS pending" in printed


def test_flask_migrate_drops_the_sagas_without_it(migrated):
    made, printed = migrated("{}")
    assert "op.drop_table('sagaz_run'" in made
    assert "STATUS pending" not in printed
