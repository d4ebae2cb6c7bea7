"""PostgreSQL databases of other encodings than UTF-8: what they can store comes back, what not is told as such."""

from __future__ import annotations

import json
import secrets

import pytest
from places import on
from roles import execute

NAMES = """
import sys, json, django
django.setup()
from django.core.management import call_command
from django.db import transaction
from django_sagaz import Saga, action, atomic_saga_start, run_saga
from django_sagaz.models import Run

call_command("migrate", "--run-syncdb", database="pg", verbosity=0)

class Greeting(Saga):
    saga_name = "greeting"

    @action("greet")
    def greet(self, ctx):
        return {"greeted": ctx["name"]}

told = []
for name in json.loads(sys.argv[1]):
    try:
        run = run_saga(Greeting, {"name": name})
        assert run["greeted"] == name, run
        with transaction.atomic("pg"):
            saga_id = atomic_saga_start(Greeting, {"name": name})
        call_command("sagaz_worker", drain=True, verbosity=0)
        run = Run.objects.using("pg").get(pk=saga_id)
        assert (run.status, run.context["name"]) == ("completed", name)
        told.append("completed")
    except Exception as error:
        told.append(type(error).__name__)
print(json.dumps(told))
"""


@on("pg")
@pytest.mark.parametrize(
    ("encoding", "smiles"), [("LATIN1", "ContextValueError"), ("SQL_ASCII", "completed"), ("UTF8", "completed")]
)
def test_what_a_database_can_store_is_run_and_what_not_is_refused_whatever_its_encoding(
    home, elsewhere, encoding, smiles
):
    name = f"sagaz_{secrets.token_hex(6)}"
    execute(home, f"CREATE DATABASE {name} ENCODING '{encoding}' TEMPLATE template0 LOCALE 'C'")
    try:
        process = elsewhere("-c", NAMES, json.dumps(["Ann", "Zoë", "😀", "Bob"]), name=name)
        said, _ = process.communicate(timeout=60)
        assert process.returncode == 0, said
        assert json.loads(said.splitlines()[-1]) == ["completed", "completed", smiles, "completed"], said
    finally:
        execute(home, f"DROP DATABASE {name} WITH (FORCE)")
