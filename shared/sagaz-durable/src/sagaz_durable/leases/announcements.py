"""Which sagas this process claims runs of, and as what kind of worker."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from sagaz_integration_core.contract.listings import WorkerKind

__all__ = ["Announcements"]


class Announcements:
    """What the workers of this process have announced."""

    def __init__(self) -> None:
        self._announced: dict[object, tuple[WorkerKind, Callable[[], Iterable[str]]]] = {}

    def __bool__(self) -> bool:
        return bool(self._announced)

    def add(self, who: object, kind: WorkerKind, sagas: Callable[[], Iterable[str]]) -> None:
        """Note that somebody claims runs of these sagas."""
        self._announced[who] = (kind, sagas)

    def remove(self, who: object) -> None:
        """Take an announcement back; harmless when there is none."""
        self._announced.pop(who, None)

    @property
    def kind(self) -> WorkerKind:
        """As what this process lives."""
        kinds = {kind for kind, _ in self._announced.values()}
        return "worker" if "worker" in kinds else "embedded" if kinds else "web"

    @property
    def sagas(self) -> list[str]:
        """The names of the sagas."""
        return sorted({name for _, sagas in self._announced.values() for name in sagas()})
