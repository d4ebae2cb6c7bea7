"""Values of other types than JSON's turned into tagged ones, and back; what is not kept is refused with its path."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any

from sagaz_durable.serialization.diagnostics import Refused, advice
from sagaz_durable.serialization.enum_classes import EnumClasses, enums_of
from sagaz_durable.serialization.json_checks import MAX_DEPTH, TOO_DEEP, TooLarge
from sagaz_durable.serialization.model_fields import NO_MODEL, fields_of
from sagaz_durable.serialization.tags import TAGS, TAGS_BY_KEY
from sagaz_durable.tag_keys import ENUM, escaped, looks_like_tag, tag_key_of
from sagaz_integration_core.error_text import error_text
from sagaz_integration_core.errors import ContextValueError

__all__ = ["meaning", "plain", "plain_value", "same", "tagged", "untagged"]

_JSON = frozenset((str, int, float, bool, type(None)))


def tagged(value: dict[str, Any], budget: int, saga_class: type[Any] | None) -> dict[str, Any]:
    """Return a context as a JSON tree, in which each value of another type is tagged.

    Args:
        budget: How many bytes are walked at most.
        saga_class: Whose enums may be in it; None for none.

    Raises:
        Refused: A value is not kept.
        TooLarge: The budget is spent.
    """
    tree: dict[str, Any] = _Tagger(budget, saga_class).of_dict(value, 1)
    return tree


def untagged(tree: dict[str, Any], saga_class: type[Any] | None) -> dict[str, Any]:
    """Return what `tagged` was given.

    Args:
        saga_class: Whose enums may be in it; None for a reader who is content with the values of their members.

    Raises:
        ContextValueError: A tag is not known, or its text is not what it says.
    """
    value: dict[str, Any] = _Reader(saga_class).of(tree)
    return value


def meaning(tree: Any) -> Any:
    """Return a tree that is the same for all contexts of equal values: ``1.0`` and ``1.00`` are one Decimal."""
    if isinstance(tree, dict):
        key = tag_key_of(tree)
        if key == ENUM:
            return {key: meaning(tree[key])}
        if key is not None:
            return {key: TAGS_BY_KEY[key].meaning(tree[key])}
        return {name: meaning(item) for name, item in tree.items()}
    return [meaning(item) for item in tree] if isinstance(tree, list) else tree


def plain(tree: Any) -> Any:
    """Return a tree without its tags, for readers that do not ask for types: texts, and the values of enums."""
    if isinstance(tree, dict):
        key = tag_key_of(tree)
        if key is not None:
            return plain(tree[ENUM][1]) if key == ENUM and isinstance(tree[ENUM], list) else tree[key]
        return {_unescaped(name, tree): plain(item) for name, item in tree.items()}
    return [plain(item) for item in tree] if isinstance(tree, list) else tree


def plain_value(value: Any) -> Any:
    """Return what was read by `untagged` as `plain` does."""
    kind = type(value)
    if kind is dict:
        return {key: plain_value(item) for key, item in value.items()}
    if kind is list:
        return [plain_value(item) for item in value]
    if issubclass(kind, Enum):
        return plain_value(value.value)
    return value if kind not in TAGS else TAGS[kind].write(value)


def same(one: Any, other: Any) -> bool:
    """Whether two values of one type, which is none of JSON's containers, are equal and are written alike.

    ``1.0`` and ``1.00`` of a Decimal are written otherwise, and so is one moment in two time zones.
    """
    tag = TAGS.get(type(one))
    try:
        return bool(one == other) and (tag is None or tag.write(one) == tag.write(other))
    except Exception:
        # A time zone of the application's own: what is wrong with it is said where the value is written.
        return False


def _unescaped(key: str, tree: dict[str, Any]) -> str:
    return key[1:] if len(tree) == 1 and looks_like_tag(key) and escaped(key) else key


class _Tagger:
    def __init__(self, budget: int, saga_class: type[Any] | None) -> None:
        self._budget = budget
        self._saga_class = saga_class
        self._enums: EnumClasses | None = None

    def of(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind in _JSON:
            self._spend(len(value) + 2 if kind is str else 1)
            return value
        if kind is dict:
            return self.of_dict(value, depth)
        if kind is list:
            return self._of_list(value, depth)
        if (tag := TAGS.get(kind)) is not None:
            text = _made(value, tag.write)
            self._spend(len(text))
            return {tag.key: text}
        if issubclass(kind, Enum):
            return {ENUM: [kind.__qualname__, self._of_member(value, depth + 2)]}
        if (fields := fields_of(value)) is not NO_MODEL:
            if depth > MAX_DEPTH:
                raise Refused(TOO_DEEP)
            # A root model is what it holds, which may hold it again.
            return self.of(fields, depth if type(fields) is dict else depth + 1)
        raise Refused(f"{kind.__name__} is not one of JSON's types; {advice(value)}")

    def of_dict(self, value: dict[Any, Any], depth: int) -> dict[Any, Any]:
        key = None
        tree = {}
        try:
            if depth > MAX_DEPTH:
                raise Refused(TOO_DEEP)
            for key, item in value.items():
                self._spend(len(key) + 4 if type(key) is str else 4)
                tree[key] = self.of(item, depth + 1)
        except Refused as refused:
            refused.climb(value, key)
            raise
        if len(tree) == 1 and looks_like_tag(key):
            return {f"${key}": tree[key]}
        return tree

    def _of_list(self, value: list[Any], depth: int) -> list[Any]:
        position = 0
        tree = []
        try:
            if depth > MAX_DEPTH:
                raise Refused(TOO_DEEP)
            for item in value:
                self._spend(1)
                tree.append(self.of(item, depth + 1))
                position += 1
        except Refused as refused:
            refused.climb(value, position)
            raise
        return tree

    def _spend(self, count: int) -> None:
        self._budget -= count
        if self._budget < 0:
            raise TooLarge

    def _of_member(self, member: Enum, depth: int) -> Any:
        value = self._member_value(member)
        tree = self.of(value, depth)
        # A model comes back as a dict, by which no member is found.
        if type(value) not in _JSON and _found(type(member), _Reader(self._saga_class).of(tree)) is not member:
            raise Refused(f"a member of the enum {type(member).__qualname__} whose value is a model; pass its name")
        return tree

    def _member_value(self, member: Enum) -> Any:
        kind, saga_class = type(member), self._saga_class
        name = kind.__qualname__
        if saga_class is None:
            raise Refused(f"a member of the enum {name} is not kept here, where no saga is known; pass .value")
        if self._enums is None:
            self._enums = enums_of(saga_class)
        if self._enums.get(name) is not kind:
            other = "another enum of this name" if name in self._enums else "no enum of this name"
            raise Refused(
                f"a member of the enum {name}, and the module of {saga_class.__name__} has {other}, so that it could "
                f"not be read again; import {kind.__name__} there, or pass .value"
            )
        value = _made(member, lambda member: member.value)
        if _found(kind, value) is not member:
            raise Refused(f"a member of the enum {name} that is not found by its value; pass .value")
        return value


def _made(value: Any, make: Callable[[Any], Any]) -> Any:
    try:
        return make(value)
    except ValueError as error:
        raise Refused(f"{type(value).__name__}: {error}") from None
    except Exception as error:
        # What a time zone, or an enum, of the application's own does.
        raise Refused(f"{type(value).__name__} cannot be written: {error_text(error)}") from error


def _found(kind: type[Enum], value: Any) -> Enum | None:
    try:
        return kind(value)
    except Exception:
        # Not chained: the error has the value.
        return None


class _Reader:
    def __init__(self, saga_class: type[Any] | None) -> None:
        self._saga_class = saga_class
        self._enums: EnumClasses | None = None

    def of(self, tree: Any) -> Any:
        if isinstance(tree, list):
            return [self.of(item) for item in tree]
        if not isinstance(tree, dict):
            return tree
        key = tag_key_of(tree)
        if key is None:
            return {_unescaped(name, tree): self.of(item) for name, item in tree.items()}
        return self._member(tree[ENUM]) if key == ENUM else _read(key, tree[key])

    def _member(self, given: Any) -> Any:
        if not isinstance(given, list) or len(given) != 2 or not isinstance(given[0], str):
            raise ContextValueError(f"A stored value is tagged {ENUM}, and has not the form of one")
        name, value = given[0], self.of(given[1])
        if self._saga_class is None:
            return value
        if self._enums is None:
            self._enums = enums_of(self._saga_class)
        kind = self._enums.get(name)
        if kind is None:
            raise ContextValueError(
                f"A stored value is a member of the enum {name!r}, which the module of {self._saga_class.__name__} has "
                "not under that name in this deployment"
            )
        if (member := _found(kind, value)) is None:
            raise ContextValueError(
                f"A stored value is a member of the enum {name!r} which it has not in this deployment"
            )
        return member


def _read(key: str, text: Any) -> Any:
    tag = TAGS_BY_KEY.get(key)
    if tag is None:
        raise ContextValueError(f"A stored value is tagged {key!r}, which this version does not know")
    try:
        if not isinstance(text, str):
            raise ValueError("no string")
        return tag.read(text)
    except LookupError as error:
        raise ContextValueError(f"A stored value is tagged {key!r}: {error.args[0]}") from error
    except (ValueError, ArithmeticError):
        # Not chained: the error may have the value.
        raise ContextValueError(f"A stored value is tagged {key!r}, and has not the form of one") from None
