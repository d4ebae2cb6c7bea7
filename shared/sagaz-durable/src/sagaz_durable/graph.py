"""The steps of a saga and how they depend on each other: what comes before what, worked out once per declaration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from graphlib import CycleError, TopologicalSorter

from sagaz_durable.effects import Effect
from sagaz_durable.nearest_name import nearest
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.errors import SagaDefinitionError

__all__ = ["Graph", "StepNode", "graph_of"]


@record
class StepNode:
    """One declared step, as far as the order and the manner of its calls depend on it, and whether people are asked.

    Attributes:
        effect: What was declared of it by ``@effect``; None if nothing was.
        undo_effect: The same of its compensation.
        recovered: Whether a ``@forward_recovery`` handler decides what becomes of its failure.
        manual: Whether a person compensates it.
    """

    name: str
    depends_on: tuple[str, ...] = ()
    compensated: bool = False
    pivot: bool = False
    effect: Effect | None = None
    undo_effect: Effect | None = None
    recovered: bool = False
    manual: bool = False

    @property
    def transactional(self) -> bool:
        """Whether the step, or its compensation, is called inside a transaction."""
        return "transactional" in (self.effect, self.undo_effect)


@record
class Graph:
    """A saga's steps in their declared order: dependencies before dependents, and by name where neither depends.

    Attributes:
        nodes: By name, in the declared order.
        ancestors: What each step depends on, directly or not, in the declared order.
        dependents: What depends on each step, directly or not.
        before: What is done before each step is called: what it depends on, and for a pivot also the steps of all
            levels before its own, as in sagaz, which calls level by level.
    """

    nodes: Mapping[str, StepNode]
    ancestors: Mapping[str, tuple[str, ...]]
    dependents: Mapping[str, frozenset[str]]
    before: Mapping[str, frozenset[str]]

    @property
    def first(self) -> tuple[StepNode, ...]:
        """The steps with which a run begins."""
        return tuple(node for node in self.nodes.values() if not node.depends_on)


# Almost all runs are of a few declarations, and each run asks for its own.
@lru_cache(maxsize=1000)
def graph_of(owner: str, declared: tuple[StepNode, ...]) -> Graph:
    """Return the graph of a declaration; ``owner`` is the class's name, for errors.

    Raises:
        SagaDefinitionError: A dependency names no step, or dependencies go in a circle.
    """
    nodes = {node.name: node for node in declared}
    _check_names(owner, nodes)
    names = _in_order(owner, nodes)
    ancestors: dict[str, tuple[str, ...]] = {}
    level: dict[str, int] = {}
    for name in names:
        needed = nodes[name].depends_on
        reached = set(needed).union(*(ancestors[one] for one in needed))
        ancestors[name] = tuple(one for one in names if one in reached)
        level[name] = 1 + max((level[one] for one in needed), default=0)
    return Graph(
        {name: nodes[name] for name in names},
        ancestors,
        {name: frozenset(other for other in names if name in ancestors[other]) for name in names},
        {
            name: frozenset(ancestors[name]).union(
                other for other in names if nodes[name].pivot and level[other] < level[name]
            )
            for name in names
        },
    )


def _check_names(owner: str, nodes: Mapping[str, StepNode]) -> None:
    for node in nodes.values():
        for name in node.depends_on:
            if name not in nodes:
                raise SagaDefinitionError(
                    f"Step {node.name!r} of {owner} depends on {name!r}, and no step has that name."
                    f"{nearest(name, nodes)}"
                )


def _in_order(owner: str, nodes: Mapping[str, StepNode]) -> list[str]:
    sorter: TopologicalSorter[str] = TopologicalSorter({name: sorted(nodes[name].depends_on) for name in sorted(nodes)})
    try:
        return list(_levels(sorter))
    except CycleError as error:
        circle = " → ".join(error.args[1])
        raise SagaDefinitionError(f"The steps of {owner} depend on each other in a circle: {circle}.") from None


def _levels(sorter: TopologicalSorter[str]) -> Iterable[str]:
    sorter.prepare()
    while sorter.is_active():
        ready = sorted(sorter.get_ready())
        yield from ready
        sorter.done(*ready)
