"""Saga name and class, both ways; only registered sagas can be started or resumed.

Nothing that stands in a database row or a request is ever imported: a name either is registered here, or it is
refused.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sagaz_durable.nearest_name import closest
from sagaz_durable.settings.wording import NEUTRAL, Wording
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.error_text import value_text
from sagaz_integration_core.errors import LeaseLost, RunInterrupted, SagaDefinitionError, SagaNotRegistered

if TYPE_CHECKING:
    from sagaz import Saga

    from sagaz_durable._upstream.instances import Prepared
    from sagaz_durable.contexts.context_types import ContextTypes
    from sagaz_durable.engine.ends import RecentDurations
    from sagaz_durable.graph import Graph
    from sagaz_integration_core.contract.records import FirstStep

    SagaSpec = type[Saga] | tuple[type[Saga], Callable[[], Saga]]

__all__ = ["Registration", "SagaRegistry", "listed"]


@record
class Registration:
    """One saga that this deployment can run, and how to build an instance of it.

    Attributes:
        graph: The steps that the class declares; a factory may have given an instance others.
    """

    name: str
    saga_class: type[Saga]
    factory: Callable[[], Saga]
    graph: Graph

    def create(self) -> Saga:
        """Build a fresh instance; sagaz's instances are good for one run only.

        Raises:
            SagaDefinitionError: The factory returned something else.
        """
        from sagaz_durable._upstream.instances import made_by

        saga: Saga = made_by(self.factory, self.saga_class)
        return saga

    def prepare(self, listeners: Sequence[Any]) -> Prepared:
        """Build an instance for one run, which notifies these listeners unless it brings its own.

        Raises:
            SagaDefinitionError: The factory returned something else, or the instance's steps contradict each other.
        """
        from sagaz_durable._upstream.instances import prepare

        try:
            return prepare(self.saga_class, self.factory, listeners)
        except BaseException as error:
            from sagaz_durable.calls.foreign import is_a
            from sagaz_durable.calls.interpreter_exit import stops_the_process
            from sagaz_durable.masked_errors import masked_error

            known = is_a(error, Exception) and not is_a(error, LeaseLost, RunInterrupted)
            if known or stops_the_process(error):
                raise
            # On a thread that has an event loop it would end that, and whatever else runs there; and of this run nobody
            # has said that it was interrupted.
            raise SagaDefinitionError(f"Saga {self.name!r} cannot be made: {masked_error(error)}") from error

    @property
    def types(self) -> ContextTypes | None:
        """What the class declares of its context; None for nothing."""
        from sagaz_durable._upstream.typed_steps import context_types

        return context_types(self.saga_class, lambda: self.graph)


class SagaRegistry:
    """The sagas that one application can start and its workers can run.

    Args:
        wording: How the framework's users spell where sagas are registered, for error messages.

    Attributes:
        first_steps: By the names of all sagas, the steps with which their runs begin, as far as the class alone tells
            them: a factory may return an instance of a subclass, and ``add_step`` adds what the class does not know of.
            Transactional ones are not among them: they are journaled when they are done.
    """

    def __init__(self, sagas: Iterable[SagaSpec] = (), *, wording: Wording = NEUTRAL) -> None:
        self._by_name: dict[str, Registration] = {}
        self._by_class: dict[type[Any], Registration] = {}
        self.first_steps: dict[str, Sequence[FirstStep]] = {}
        self._told: set[str] = set()
        self._refuse: Callable[[Registration], None] | None = None
        self._refused: dict[type[Any], str] = {}
        self._add_to = wording.sagas
        self._lock = threading.Lock()
        for spec in listed(sagas):
            self.add(spec)

    @cached_property
    def durations(self) -> RecentDurations:
        """What their runs took lately in this process."""
        # An application is made without an event loop, and need not load what waits on one.
        from sagaz_durable.engine.ends import RecentDurations

        return RecentDurations()

    def add(self, spec: SagaSpec) -> Registration:
        """Register a class, or a (class, factory) pair when its ``__init__`` needs collaborators; again is harmless.

        Raises:
            SagaDefinitionError: The class cannot be run as written, or its name is taken by another class.
        """
        saga_class, factory = spec if isinstance(spec, tuple) and len(spec) == 2 else (spec, None)
        if not isinstance(saga_class, type):
            raise SagaDefinitionError(
                f"Expected a subclass of sagaz.Saga, got {value_text(saga_class, 100)}. Pass the class itself "
                "(OrderSaga), not an instance, its name or its path; with a factory, the pair (OrderSaga, factory)."
            )
        if saga_class in self._refused:
            raise SagaDefinitionError(self._refused[saga_class])
        known = self._by_class.get(saga_class)
        if known is None:
            # The first requests of a server may all be the first to use a class.
            with self._lock:
                known = self._by_class.get(saga_class) or self._register(saga_class, factory)
        if factory is not None and factory is not known.factory:
            if known.factory is not saga_class:
                raise SagaDefinitionError(f"Saga {known.name!r} is registered with two factories; keep one of them.")
            return self._store(Registration(known.name, saga_class, factory, known.graph))
        return known

    def _register(self, saga_class: type[Saga], factory: Callable[[], Saga] | None) -> Registration:
        # Only here is sagaz needed; listing or importing a plugin does not load it.
        from sagaz_durable._upstream.definitions import saga_name, validate

        name = saga_name(saga_class)
        if (taken := self._by_name.get(name)) is not None:
            raise SagaDefinitionError(
                f"Two sagas are named {name!r}: {_path(taken.saga_class)} and {_path(saga_class)}. "
                f"Runs are found by that name, so give one of them another saga_name."
            )
        return self._store(Registration(name, saga_class, factory or saga_class, validate(saga_class)))

    def refuse(self, refuse: Callable[[Registration], None], *, at_once: bool = True) -> None:
        """Have each saga refused that cannot be run where this application keeps its runs.

        Args:
            refuse: Raises `SagaDefinitionError`; takes the place of an earlier one.
            at_once: Whether those that are there already are refused now; else when they are started, and until then
                this process claims none of their runs.
        """
        self._refuse = refuse
        self._refused.clear()
        for registration in self:
            try:
                refuse(registration)
            except SagaDefinitionError as error:
                if at_once:
                    raise
                self._refused[registration.saga_class] = str(error)
                self.first_steps.pop(registration.name, None)
            else:
                self._note(registration)

    def _store(self, registration: Registration) -> Registration:
        if self._refuse is not None:
            self._refuse(registration)
        self._by_name[registration.name] = registration
        self._by_class[registration.saga_class] = registration
        self._note(registration)
        return registration

    def _note(self, registration: Registration) -> None:
        from sagaz_integration_core.contract.records import FirstStep

        tells = registration.factory is registration.saga_class
        first = registration.graph.first if tells else ()
        if first:
            self._told.add(registration.name)
        else:
            self._told.discard(registration.name)
        self.first_steps[registration.name] = tuple(
            FirstStep(node.name, node.compensated) for node in first if node.effect != "transactional"
        )

    def get(self, name: str) -> Registration:
        """Return the registration of a name.

        Raises:
            SagaNotRegistered: There is none; the message lists the names and how to add one.
        """
        registration = self._by_name.get(name)
        if registration is None:
            raise SagaNotRegistered(self._unknown(name))
        return registration

    def graph(self, name: str) -> Graph:
        """Return the steps of a saga; none of one that is not registered, of which only journals tell."""
        from sagaz_durable.graph import graph_of

        registration = self._by_name.get(name)
        return graph_of(name, ()) if registration is None else registration.graph

    def step_limit(self, saga_name: str, step: str) -> float:
        """Return the time limit of a step, its compensation (``:undo`` behind its name) or recovery (``:redo``)."""
        from sagaz_durable._upstream.definitions import DEFAULT_LIMIT, step_limits

        registration = self._by_name.get(saga_name)
        return DEFAULT_LIMIT if registration is None else step_limits(registration.saga_class).get(step, DEFAULT_LIMIT)

    def known_steps(self) -> dict[str, list[str]]:
        """Return the steps of each saga whose class tells all of them; see `first_steps`."""
        return {entry.name: list(entry.graph.nodes) for entry in self if entry.name in self._told}

    @property
    def announced(self) -> list[str]:
        """What a process tells others of itself: the sagas that it knows, and behind them `mark` of each."""
        names = [entry.name for entry in self if entry.name in self.first_steps]
        return names + [mark for name in names if (mark := self.mark(name)) is not None]

    def mark(self, name: str) -> str | None:
        """Return what processes announce alike whose saga of this name has the same steps; None if that varies."""
        if name not in self._told:
            return None
        steps = json.dumps(sorted(self._by_name[name].graph.nodes))
        return f"{name} steps:{hashlib.sha256(steps.encode()).hexdigest()[:16]}"

    def _unknown(self, name: str) -> str:
        close = closest(name, self._by_name)
        guess = f" Did you mean {close!r}?" if close else ""
        known = ", ".join(sorted(self._by_name)) or "none"
        return f"No saga named {name!r} is registered.{guess} Registered: {known}. Add its class to {self._add_to}."

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def __iter__(self) -> Iterator[Registration]:
        return iter(sorted(self._by_name.values(), key=lambda registration: registration.name))

    def __len__(self) -> int:
        return len(self._by_name)


def listed(sagas: Iterable[SagaSpec]) -> tuple[SagaSpec, ...]:
    """Return what ``sagas=…`` was given.

    Raises:
        SagaDefinitionError: It is no list: one class without brackets, or a string.
    """
    if isinstance(sagas, str | bytes | type) or not isinstance(sagas, Iterable):
        raise SagaDefinitionError(f"sagas= takes a list of classes, [OrderSaga], and got {value_text(sagas, 100)}.")
    return tuple(sagas)


def _path(saga_class: type[Any]) -> str:
    return f"{saga_class.__module__}.{saga_class.__qualname__}"
