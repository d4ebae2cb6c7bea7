"""`ContextTypes`: the declared type of a saga's context, what each of its steps takes and returns, and their checks."""

from __future__ import annotations

import typing
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sagaz_durable.contexts.agreement import check_agreement
from sagaz_durable.contexts.losses import lost, stray_names, unsettled
from sagaz_durable.contexts.misfit import Misfit
from sagaz_durable.contexts.models import Model, as_values, compile_nested
from sagaz_durable.nearest_name import nearest
from sagaz_integration_core.contract.record import record
from sagaz_integration_core.contract.records import Phase
from sagaz_integration_core.errors import ContextValueError, SagaDefinitionError

__all__ = ["CallTypes", "ContextTypes", "Handed", "Started"]

Values = dict[str, Any]


@record
class CallTypes:
    """What one step, or one compensation, takes and returns.

    Attributes:
        takes: None for a dict.
        returns: What it declares to return, besides what it takes; None for nothing.
        always: Whether it never returns None instead.
    """

    takes: Model | None
    returns: Model | None = None
    always: bool = True

    @property
    def provides(self) -> frozenset[str]:
        """The fields that are there when the call is done, whatever they are."""
        if self.returns is None or not self.always:
            return frozenset()
        # Of a TypedDict some keys may be missing; all other models have all of their fields.
        is_dict = typing.is_typeddict(self.returns.kind)
        return self.returns.required if is_dict else frozenset(self.returns.fields)


@record
class Started:
    """A checked input.

    Attributes:
        values: All fields, those that were left to their defaults among them.
        given: What is the same for each repetition of a request: those that were not.
    """

    values: Values
    given: Values


@record
class Handed:
    """What a step has assigned and returned.

    Attributes:
        items: By name, models as they are.
        models: The instances that have it.
    """

    items: Values
    models: tuple[Any, ...]


class ContextTypes:
    """The types of one saga.

    Args:
        owner: The saga's name, for errors.
        context: What its runs are started with.
        calls: What its steps and compensations take and return.
        ancestors: What each step depends on, directly or not.

    Raises:
        SagaDefinitionError: A step takes what nobody provides, or two types disagree about a field.
    """

    def __init__(
        self,
        owner: str,
        context: Model,
        calls: Mapping[tuple[str, Phase], CallTypes],
        ancestors: Mapping[str, Iterable[str]],
    ) -> None:
        self._context = context
        self._calls = calls
        self._default = CallTypes(context)
        types = [context, *(one for call in calls.values() for one in (call.takes, call.returns) if one is not None)]
        self._names = frozenset(name for one in types for name in one.fields)
        self._is_open = any(one.is_open for one in types)
        for name in sorted(self._names):
            if name == "saga_id" or name.startswith("__"):
                raise SagaDefinitionError(
                    f"{owner}: a context has no field {name!r}, which is the runtime's own. Rename it; in steps the "
                    "run's id is current_step().saga_id."
                )
        self._kinds: set[Any] = {one.kind for one in types}
        for one in types:
            compile_nested(one, self._kinds)
        check_agreement(owner, types)
        for step, phase in calls:
            self._check_provided(owner, step, phase, ancestors[step])

    @property
    def name(self) -> str:
        """What the type of the context is called."""
        return self._context.kind.__qualname__

    def _check_provided(self, owner: str, step: str, phase: Phase, ancestors: Iterable[str]) -> None:
        if (lacking := self._lacking(step, phase, self._context.fields, ancestors)) is not None:
            takes, name = lacking
            kinds = {"do": "", "undo": "the compensation of ", "redo": "the recovery of "}
            what = f"{kinds[phase]}step {step!r}"
            raise SagaDefinitionError(
                f"{owner}: {what} takes {takes}, whose field {name!r} has no default, and neither "
                f"{self._context.kind.__qualname__} has it nor does a step that {step!r} depends on declare to return "
                "it. Give it a default, or annotate what that step returns with a model that has it."
            )

    def _lacking(
        self, step: str, phase: Phase, known: Iterable[str], ancestors: Iterable[str]
    ) -> tuple[str, str] | None:
        takes = self._call(step, phase).takes
        provided = set(known).union(*(self._call(one, "do").provides for one in ancestors))
        missing = () if takes is None else sorted(takes.required - provided)
        return (takes.kind.__qualname__, missing[0]) if takes is not None and missing else None

    def lacking(self, step: str, known: Iterable[str], ancestors: Iterable[str]) -> tuple[str, str] | None:
        """Return a type, and its field without a default, that a step or its compensation could not be given.

        Args:
            known: What there is.
            ancestors: The steps that are going to return something yet.
        """
        known, ancestors = tuple(known), tuple(ancestors)
        phases: tuple[Phase, ...] = ("do", "undo", "redo")
        return next(filter(None, (self._lacking(step, phase, known, ancestors) for phase in phases)), None)

    def start(self, given: Any, values: Values) -> Started:
        """Return the context of a new run.

        Args:
            given: What the caller gave: the values, or a model that has them.

        Raises:
            Misfit: It is not what the type says.
        """
        instance = self._build(self._context, as_values(values), values, None)
        self._check_names((given,), (instance,))
        # An instance knows what it was made with; a default that is another one each time must not tell requests apart.
        is_instance = not typing.is_typeddict(self._context.kind) and isinstance(given, self._context.kind)
        names = self._context.given(given if is_instance else instance, values)
        values = as_values(instance)
        return Started(values, {name: value for name, value in values.items() if name in names or self._is_extra(name)})

    def _is_extra(self, name: str) -> bool:
        return name not in self._context.fields

    def given_to(self, step: str, phase: Phase, values: Values) -> tuple[Any, Values]:
        """Return what a call is given, and its values, by which changes are seen.

        Raises:
            ContextValueError: What is recorded does not fit the type, which another deployment may have had otherwise.
        """
        takes = self._call(step, phase).takes
        before = as_values(values)
        if takes is None:
            return as_values(values), before
        try:
            instance = takes.build(_known(takes, values))
        except Misfit as misfit:
            name = takes.kind.__qualname__
            raise ContextValueError(
                f"What is recorded does not fit {name}, which step {step!r} takes: {misfit}. Deploy a version whose "
                f"{name} takes it, as by a default for a new field.",
                misfit.path,
            ) from misfit
        if typing.is_typeddict(takes.kind):
            instance = {**as_values(values), **instance}
            return instance, before
        return instance, {**before, **as_values(instance)}

    def result(
        self, step: str, before: Values, changed: Values, returned: Values | None, phase: Phase, handed: Handed
    ) -> Values:
        """Return what a step, or its recovery, has changed, as its types have it.

        Args:
            before: What it was given.
            changed: Of what it assigned and returned that which differs.
            returned: All that it returned.
            handed: What it assigned and returned, as it is.

        Raises:
            Misfit: It is not what the types say.
        """
        call = self._call(step, phase)
        unknown = [name for name in changed if name not in self._names]
        if unknown and not self._is_open:
            raise Misfit(tuple(((name,), self._unknown(name)) for name in unknown))
        found, made = dict(changed), []
        items = {name: item for name, item in handed.items.items() if name in changed}
        if call.returns is not None and (returned is not None or call.always):
            made.append(self._build(call.returns, _known(call.returns, returned or {}), items, changed))
            found |= _only(changed, as_values(made[-1]))
        for one in dict.fromkeys((self._context, call.takes)):
            if one is not None:
                made.append(self._build(one, _known(one, {**before, **found}), items, changed))
                found |= _only(changed, as_values(made[-1]))
        self._check_names((*handed.models, handed.items), made)
        return found

    def _build(self, model: Model, values: Values, items: Values, names: Collection[str] | None) -> Any:
        """Return an instance that has all that it is made of, and would have it again.

        Args:
            values: What it is made of.
            items: The same with models as they were given.
            names: Those that are looked at; None for all.
        """
        instance = model.build(values)
        if wrong := lost(items, instance, self._kinds):
            raise Misfit(wrong)
        built = as_values(instance)
        if wrong := unsettled(model, values, built, built if names is None else names):
            raise Misfit(wrong)
        return instance

    def _check_names(self, models: Iterable[Any], made: Iterable[Any]) -> None:
        for one in models:
            alike = next((other for other in made if type(other) is type(one)), None)
            if names := stray_names(one, alike):
                raise Misfit(tuple(((name,), self._unknown(name)) for name in names))
            # Copies within it, which may be equal to what was there.
            if wrong := lost(one, None, ()):
                raise Misfit(wrong)

    def _unknown(self, name: str) -> str:
        what = self._context.kind.__qualname__
        return (
            f"{what} has no such field, and the step does not declare to return it.{nearest(name, self._names)} Give "
            f"{what} one with a default, or annotate what the step returns with a model that has it"
        )

    def is_taken(self, step: str, value: object) -> bool:
        """Whether a step has returned what it takes: a changed copy, of which the changes count."""
        takes = self._call(step, "do").takes
        return takes is not None and not typing.is_typeddict(takes.kind) and isinstance(value, takes.kind)

    def _call(self, step: str, phase: Phase) -> CallTypes:
        return self._calls.get((step, phase), self._default)


def _known(model: Model, values: Mapping[str, Any]) -> Values:
    if model.is_open:
        return {name: value for name, value in values.items() if name != "saga_id"}
    return {name: value for name, value in values.items() if name in model.fields}


def _only(changed: Values, values: Mapping[str, Any]) -> Values:
    return {name: value for name, value in values.items() if name in changed}
