"""A verb is called in the same way in every framework: what plugins write out again says the same as `Sagas` does."""

from __future__ import annotations

import importlib.util
import inspect
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from inspect import Parameter
from pathlib import Path
from typing import Any

import pytest

import django_sagaz
from fastapi_sagaz import EventPublisher, SagaStarter, run_saga_background
from flask_sagaz import SagazExtension
from sagaz_durable.runtime.client import form_of, function_form_of
from sagaz_durable.sagas import Sagas

TRANSACTION = ("connection", "using")
"""What Django has for ``session``: the transaction that is open, which these may name."""


@dataclass(frozen=True)
class Form:
    """What a plugin has for a verb.

    Attributes:
        own: The framework's own words, which the verb has not.
        instead_of: The verb's words that these stand for.
    """

    function: Callable[..., Any]
    verb: Callable[..., Any]
    own: tuple[str, ...] = ()
    instead_of: tuple[str, ...] = ()


DJANGO = [
    Form(django_sagaz.atomic_saga_start, Sagas.start_sync, TRANSACTION, ("session",)),
    Form(django_sagaz.atomic_saga_start_many, Sagas.start_many_sync, TRANSACTION, ("session",)),
    Form(django_sagaz.run_deferred, Sagas.start_sync, ("saga", *TRANSACTION), ("saga_class", "session")),
    Form(django_sagaz.Saga.run_deferred, Sagas.start_sync, TRANSACTION, ("saga_class", "session")),
    Form(django_sagaz.run_saga, Sagas.run_sync, ("saga",), ("saga_class",)),
    Form(django_sagaz.publish, Sagas.publish_sync, TRANSACTION, ("session",)),
    Form(django_sagaz.wait, Sagas.wait_sync),
    Form(django_sagaz.async_wait, Sagas.wait),
    Form(django_sagaz.status, Sagas.status_sync),
    Form(django_sagaz.retry, Sagas.retry_sync),
    Form(django_sagaz.cancel, Sagas.cancel_sync),
    Form(django_sagaz.resolve, Sagas.resolve_sync),
    Form(django_sagaz.run_now, Sagas.run_now_sync),
    Form(django_sagaz.list_runs, Sagas.list_runs_sync),
    Form(django_sagaz.signal_run, Sagas.signal_run_sync),
    Form(django_sagaz.send_signal, Sagas.send_signal_sync, TRANSACTION, ("session",)),
    Form(django_sagaz.approval_token, Sagas.approval_token),
    Form(django_sagaz.read_approval, Sagas.read_approval),
    Form(django_sagaz.decide_approval, Sagas.decide_approval_sync, TRANSACTION, ("session",)),
    Form(django_sagaz.astatus, Sagas.status),
    Form(django_sagaz.aretry, Sagas.retry),
    Form(django_sagaz.acancel, Sagas.cancel),
    Form(django_sagaz.aresolve, Sagas.resolve),
    Form(django_sagaz.arun_now, Sagas.run_now),
    Form(django_sagaz.alist_runs, Sagas.list_runs),
    Form(django_sagaz.asignal_run, Sagas.signal_run),
    Form(django_sagaz.asend_signal, Sagas.send_signal, ("using",), ("session",)),
    Form(django_sagaz.adecide_approval, Sagas.decide_approval, ("using",), ("session",)),
]
FASTAPI = [
    Form(SagaStarter.__call__, Sagas.start),
    Form(SagaStarter.sync, Sagas.start_sync),
    Form(SagaStarter.many, Sagas.start_many),
    Form(EventPublisher.__call__, Sagas.publish),
    Form(EventPublisher.sync, Sagas.publish_sync),
    Form(run_saga_background, Sagas.run_background, ("background_tasks", "saga"), ("saga_class",)),
]
FLASK = [
    Form(SagazExtension.start, Sagas.start_sync),
    Form(SagazExtension.start_many, Sagas.start_many_sync),
    Form(SagazExtension.run_sync, Sagas.run_sync, ("saga",), ("saga_class",)),
    Form(SagazExtension.run_background, Sagas.run_background_sync, ("saga",), ("saga_class",)),
    Form(SagazExtension.publish, Sagas.publish_sync),
    Form(SagazExtension.status, Sagas.status_sync),
    Form(SagazExtension.retry, Sagas.retry_sync),
    Form(SagazExtension.cancel, Sagas.cancel_sync),
    Form(SagazExtension.resolve, Sagas.resolve_sync),
    Form(SagazExtension.run_now, Sagas.run_now_sync),
    Form(SagazExtension.send_signal, Sagas.send_signal_sync),
]
SYNCHRONOUS = [
    # A thread that waits is one less: `wait_sync` is for that, and counts them.
    Form(getattr(Sagas, name), getattr(Sagas, name.removesuffix("_sync")), (), ("wait",) if name == "run_sync" else ())
    for name in dir(Sagas)
    if name.endswith("_sync")
]
PLUGINS = [
    pytest.param(form, id=f"{framework}-{form.function.__qualname__}-{form.verb.__name__}")
    for framework, forms in (("django", DJANGO), ("fastapi", FASTAPI), ("flask", FLASK))
    for form in forms
]


def parameters(function: Callable[..., Any]) -> list[Parameter]:
    return [one for one in inspect.signature(function).parameters.values() if one.name != "self"]


def differences(form: Form) -> list[str]:
    """Tell where a form says something else than its verb, in words that are in no way the framework's own."""
    given = {one.name: one for one in parameters(form.function) if one.name not in form.own}
    wanted = {one.name: one for one in parameters(form.verb) if one.name not in form.instead_of}
    told = [f"{given[name]}, of which the verb knows nothing" for name in given.keys() - wanted.keys()]
    told += [f"{wanted[name]} is missing" for name in wanted.keys() - given.keys()]
    both = [(given[name], wanted[name]) for name in given if name in wanted]
    told += [f"{one} ({one.kind.name}) instead of {two} ({two.kind.name})" for one, two in both if one != two]
    if positional(given) != positional(wanted):
        told.append(f"{positional(given)} instead of {positional(wanted)}")
    returned, expected = (inspect.signature(one).return_annotation for one in (form.function, form.verb))
    return told if returned == expected else [*told, f"-> {returned} instead of {expected}"]


def positional(found: dict[str, Parameter]) -> list[str]:
    return [name for name, one in found.items() if one.kind is not Parameter.KEYWORD_ONLY]


@pytest.mark.parametrize("form", PLUGINS)
def test_a_form_takes_and_returns_what_its_verb_does(form: Form) -> None:
    assert differences(form) == []
    assert {one.name for one in parameters(form.function)}.issuperset(form.own)
    assert inspect.iscoroutinefunction(form.function) == inspect.iscoroutinefunction(form.verb)


@pytest.mark.parametrize("form", SYNCHRONOUS, ids=lambda form: form.function.__name__)
def test_the_synchronous_form_of_a_verb_takes_and_returns_the_same(form: Form) -> None:
    assert differences(form) == []
    assert inspect.iscoroutinefunction(form.verb) > inspect.iscoroutinefunction(form.function)


def verb(self: Any, saga_id: str, context: dict[str, int] | None = None, *, by: str = "") -> str: ...


@pytest.mark.parametrize(
    "program",
    [
        "def form(saga_id: str, context: dict[str, int] | None = None, *, by: int = '') -> str: ...",
        "def form(saga_id: str, context: dict[str, int] | None = None, *, by: str = 'x') -> str: ...",
        "def form(saga_id: str, context: dict[str, int] | None = None, by: str = '') -> str: ...",
        "def form(saga_id: str, context: dict[str, int] | None = None, *, by: str = '', why: str = '') -> str: ...",
        "def form(saga_id: str, *, by: str = '') -> str: ...",
        "def form(saga_id: str, ctx: dict[str, int] | None = None, *, by: str = '') -> str: ...",
        "def form(saga_id: str, context: dict[str, int] | None = None, *, by: str = '') -> int: ...",
    ],
    ids=["annotation", "default", "kind", "another one", "missing", "name", "what it returns"],
)
def test_each_difference_is_found(program: str) -> None:
    names: dict[str, Any] = {}
    exec(f"from __future__ import annotations\n{program}", names)
    assert differences(Form(names["form"], verb))


def test_a_form_shows_its_verbs_parameters_and_its_own_documentation() -> None:
    @function_form_of(verb)
    def function(*args: Any, **options: Any) -> Any:
        """Its own."""
        return args, options

    @form_of(verb)
    def method(self: Any, *args: Any, **options: Any) -> Any:
        return self, args, options

    shown = "(saga_id: 'str', context: 'dict[str, int] | None' = None, *, by: 'str' = '') -> 'str'"
    assert (str(inspect.signature(function)), function.__doc__) == (shown, "Its own.")
    assert str(inspect.signature(method)) == shown.replace("(", "(self: 'Any', ", 1)
    assert function("x", by="ann") == (("x",), {"by": "ann"})


PROGRAM = """
from flask_sagaz import Saga, SagazExtension
from django_sagaz import acancel, cancel, run_deferred


async def right(sagaz: SagazExtension) -> list[str]:
    outcome = await acancel("x", by="ann")
    saga_id: str = sagaz.start(Saga, {}, session=None, idempotency_key=outcome.message)
    return [saga_id, run_deferred(Saga(), {}, using="default"), cancel(saga_id, by="ann", reason="r").message]


async def wrong(sagaz: SagazExtension) -> None:
    sagaz.start(Saga, {}, key="k")
    sagaz.resolve("x", "done", by="ann", reason="r")
    number: int = sagaz.start(Saga, {})
    cancel("x")
    await acancel("x", by=1)
    run_deferred(Saga(), {}, session=None)
"""


@pytest.mark.parametrize("tool", ["mypy", "pyright"])
def test_type_checkers_know_what_a_form_takes_and_returns(tool: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(tool) is None:
        pytest.skip(f"{tool} is not installed here")
    path = tmp_path / "shop.py"
    path.write_text(PROGRAM)
    options = {"mypy": ["--cache-dir", str(tmp_path / "cache")], "pyright": ["--pythonpath", sys.executable]}[tool]
    command = [sys.executable, "-m", tool, *options, str(path)]
    output = subprocess.run(command, capture_output=True, text=True, timeout=200, cwd=tmp_path).stdout
    found = re.findall(r"shop\.py:(\d+):.*error", output)
    assert {int(line) for line in found} == {13, 14, 15, 16, 17, 18}, output
