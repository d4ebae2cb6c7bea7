"""The help of each command has the same words in every framework."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from django_sagaz._project.wording import WORDING as DJANGO
from fastapi_sagaz._wording import WORDING as FASTAPI
from flask_sagaz._settings import WORDING as FLASK
from sagaz_durable.cli.command import spelled
from sagaz_durable.cli.options import COMMANDS

HERE = Path(__file__).parent
WORDINGS = {"django": DJANGO, "fastapi": FASTAPI, "flask": FLASK}

OWN = {
    "django": {
        "--database", "--version", "--verbosity", "--settings", "--pythonpath", "--traceback", "--no-color",
        "--force-color", "--skip-checks", "--help",
    },
    "fastapi": {"--factory", "--help"},
    "flask": {"--help"},
}  # fmt: skip
OWN_OF_DJANGOS_WORKER = {"--autoreload", "--lease-seconds", "--renew-seconds", "--poll-seconds", "--drain-seconds"}


def click_helps(group: click.Group) -> Iterator[tuple[str, str]]:
    for name in group.list_commands(click.Context(group)):
        command = group.get_command(click.Context(group), name)
        assert command is not None
        with click.Context(command, info_name=name, terminal_width=5000, max_content_width=5000) as context:
            yield name, command.get_help(context)


@pytest.fixture(scope="module")
def helps() -> dict[str, dict[str, str]]:
    from fastapi_sagaz.cli import main
    from flask_sagaz.cli import sagaz_group

    command = [sys.executable, str(HERE / "django_help.py")]
    done = subprocess.run(command, env={**os.environ, "COLUMNS": "5000"}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return {
        # Modules of Python's, as Django's commands are, have no dashes in their names.
        "django": {name.replace("_", "-"): text for name, text in json.loads(done.stdout).items()},
        "fastapi": dict(click_helps(main)),
        "flask": dict(click_helps(sagaz_group)),
    }


def test_every_framework_has_the_commands_of_the_table(helps):
    assert helps["fastapi"].keys() == helps["flask"].keys() == COMMANDS.keys()
    # The tables are Django's own migrations.
    assert helps["django"].keys() == COMMANDS.keys() - {"migrate"}


def options_of(text: str) -> dict[str, str]:
    """Return what is said of each option, in one line, with choices as click writes them."""
    _, *chunks = re.split(r"\n\s+(?:-\w(?: \S+)?, )?(?=--)", text)
    said = {}
    for chunk in chunks:
        line = " ".join(chunk.split()).removesuffix(" [required]")
        line = re.sub(r"\{([\w,]+)\}", lambda match: f"[{match[1].replace(',', '|')}]", line)
        said[line.split()[0]] = line
    return said


# In Django, migrate is Django's own.
EVERYWHERE = [(framework, name) for framework in sorted(WORDINGS) for name in sorted(COMMANDS)]
EVERYWHERE.remove(("django", "migrate"))


@pytest.mark.parametrize(("framework", "name"), EVERYWHERE)
def test_the_help_of_a_command_has_the_same_words_everywhere(helps, framework, name):
    text, command, wording = helps[framework][name], COMMANDS[name], WORDINGS[framework]
    assert " ".join(spelled(command.help, wording).split()) in " ".join(text.split())
    expected = {}
    for option in command.options:
        if option.word.startswith("--"):
            choices = f"[{'|'.join(option.choices)}]" if option.choices else option.metavar
            words = [option.word, choices, spelled(option.help, wording)]
            expected[option.word] = " ".join(word for word in words if word)
    found = options_of(text)
    assert {word: found.get(word) for word in expected} == expected
    own = OWN[framework] | (OWN_OF_DJANGOS_WORKER if (framework, name) == ("django", "worker") else set())
    assert found.keys() <= expected.keys() | own


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_an_option_that_the_table_has_in_several_commands_says_the_same(name):
    options = COMMANDS[name].options
    assert len({option.name for option in options}) == len(options)
    assert all(option.help.endswith(".") and option.help[0].isupper() for option in options)


def test_djangos_commands_are_declarations_and_the_other_plugins_have_one_short_module_for_theirs():
    import django_sagaz.management.commands as declared
    from fastapi_sagaz import cli as of_fastapi
    from flask_sagaz import cli as of_flask

    for path in Path(declared.__path__[0]).glob("sagaz_*.py"):
        [command] = [node for node in ast.parse(path.read_text()).body if isinstance(node, ast.ClassDef)]
        _, assignment = command.body
        assert isinstance(assignment, ast.Assign), path
        assert ast.unparse(assignment.targets[0]) == "command", path
    for module in (of_fastapi, of_flask):
        assert len(Path(module.__file__).read_text().splitlines()) <= 60, module
