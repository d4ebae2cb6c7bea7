"""What a step sees of its run's context, and what it adds to it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Any

from sagaz_durable.graph import Graph
from sagaz_durable.serialization import codec
from sagaz_durable.serialization.diagnostics import path_of
from sagaz_durable.serialization.tagging import same
from sagaz_durable.tag_keys import tag_key_of
from sagaz_integration_core.contract.records import ClaimedRun
from sagaz_integration_core.error_text import error_text

__all__ = ["RunValues", "changes", "likeliest_path", "unstorable_text"]

Values = dict[str, Any]


class RunValues:
    """The input of a run and the results of its steps.

    A step sees the input and the results of what it depends on, directly or not, merged in the declared order: the
    same at each of its calls, whatever happens beside it. That is what an idempotency key asks for.

    Args:
        results: What the steps that are done have returned, as JSON.
        saga_class: The saga's, for its enums.

    Raises:
        ContextValueError: What is stored was not written by us.
    """

    def __init__(self, run: ClaimedRun, graph: Graph, results: Mapping[str, str], saga_class: type[Any]) -> None:
        self._graph = graph
        self._saga_class = saga_class
        self._input = {**codec.decode(run.context, saga_class), "saga_id": run.saga_id}
        self._results = {step: codec.decode(text, saga_class) for step, text in results.items()}
        self._recovered: dict[str, Mapping[str, Any]] = {}

    def recover(self, step: str, changes: Mapping[str, Any]) -> None:
        """Take over what the recovery of a step has set: the step sees it, and what depends on it."""
        self._recovered[step] = changes

    def given_to(self, step: str) -> Values:
        """Return a step's context; not to be changed, so that each call gets a copy."""
        values = dict(self._input)
        for name in self._graph.ancestors[step]:
            values.update(self._recovered.get(name, ()))
            if (result := self._results.get(name)) is not None:
                values.update(result)
        values.update(self._recovered.get(step, ()))
        return values

    def whole(self) -> Values:
        """Return a fresh copy of everything: what compensations see, and what the run has in the end."""
        values = dict(self._input)
        for step, unknown in self._results.items():
            if step not in self._graph.nodes:
                values.update(unknown)
        for step in self._graph.nodes:
            values.update(self._recovered.get(step, ()))
            if (result := self._results.get(step)) is not None:
                values.update(result)
        copy: Values = codec.copy_value(values)
        return copy

    def add(self, step: str, text: str) -> Values:
        """Take over what a step has added, as it is stored, and return it; not to be changed."""
        result = self._results[step] = codec.decode(text, self._saga_class)
        return result


def changes(before: Mapping[str, Any], after: Mapping[str, Any], returned: Mapping[str, Any] | None) -> Values:
    """Return what a step added or changed, by assigning to its context or by returning it; the latter counts more.

    Keys that it left alone cost nothing; one that it deleted is there again for the next step.

    Raises:
        ContextValueError: It has set a key that belongs to the runtime.
    """
    now = dict(after)
    if returned is not None:
        # By dict's own hand: what a subclass makes of its items is not called.
        now.update(dict.items(returned))  # type: ignore[arg-type]
    absent = object()
    result = {
        key: value for key, value in now.items()
        if (old := before.get(key, absent)) is not value and not _same(old, value)
    }  # fmt: skip
    codec.check_reserved(result)
    return result


def _same(old: Any, new: Any) -> bool:
    """Whether two values are equal and of the same types throughout: ``1``, ``1.0`` and ``True`` are three.

    So are two spellings of one value; see `tagging.same`.
    """
    kind = type(old)
    if kind is not type(new):
        return False
    if kind is dict:
        return len(old) == len(new) and all(key in new and _same(value, new[key]) for key, value in old.items())
    if kind is list:
        return len(old) == len(new) and all(map(_same, old, new))
    return same(old, new)


def likeliest_path(texts: Iterable[str]) -> str:
    """Return where the character stands in these JSON objects that a database is likeliest to lack; else nothing."""
    strings = [found for text in texts for found in _strings(json.loads(text))]
    _, path = max(
        ((max(map(ord, value), default=0), parts) for parts, value in strings), key=itemgetter(0), default=(0, ())
    )
    return path_of(*path)


def unstorable_text(reason: BaseException, results: Mapping[str, str], waiting: Iterable[str]) -> str:
    """Say that the database can never store what these steps have returned, or else what these ones wait for."""
    path = likeliest_path(results.values())
    where = f", probably at {path}" if path else ""
    what = f"what step {', '.join(map(repr, results))} returned{where}"
    if not results:
        what = f"the name or the key of a signal for which step {', '.join(map(repr, waiting))} waits"
    return f"{error_text(reason)} It stands in {what}. The step was called; nothing was compensated."


def _strings(value: Any, *parts: Any) -> Iterator[tuple[tuple[Any, ...], str]]:
    if isinstance(value, str):
        yield parts, value
    elif (tag := tag_key_of(value)) is not None:
        yield from ((parts, found) for _, found in _strings(value[tag]))
    elif isinstance(value, dict | list):
        for part, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from _strings(item, *parts, part)
