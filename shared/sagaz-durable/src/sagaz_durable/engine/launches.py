"""Which runs this process inserts for itself, and executes: a lost answer is not to make two executions of one run."""

from __future__ import annotations

import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sagaz_durable.engine.execution import RunExecution
    from sagaz_integration_core.contract.records import NewRun

__all__ = ["Launches"]


class Launches:
    """The runs that calls of this process have begun, as long as they are under way."""

    def __init__(self) -> None:
        self._inserting: set[str] = set()
        self._executions: weakref.WeakValueDictionary[str, RunExecution] = weakref.WeakValueDictionary()

    @contextmanager
    def of(self, run: NewRun) -> Iterator[bool]:
        """Note an insert for as long as it takes, and tell whether no other call has, or makes, a run of this id."""
        if run.fresh:
            yield True
            return
        is_first = run.saga_id not in self._inserting and run.saga_id not in self._executions
        if is_first:
            self._inserting.add(run.saga_id)
        try:
            yield is_first
        finally:
            if is_first:
                self._inserting.discard(run.saga_id)

    def note(self, saga_id: str, execution: RunExecution) -> None:
        """Remember a run until its execution is forgotten by everybody else."""
        self._executions[saga_id] = execution
