"""What the application chooses for its routes about sagas, once, when they are set up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sagaz_durable.http.access import Actor, Authorize
from sagaz_durable.http.origin import check_trusted
from sagaz_integration_core.error_text import value_text
from sagaz_integration_core.errors import SettingsError

__all__ = ["ApiRules"]


@dataclass(frozen=True, slots=True)
class ApiRules:
    """Who may do what, and what is shown.

    Lists may be given as any iterable, and are kept as tuples.

    Attributes:
        authorize: Who may do what; without it nobody may do anything.
        actor: Who decides, for the audit; without it nobody decides anything.
        shows: The keys of a run's context, and of what its steps return, that its readers are shown.
        tells_errors: Whether readers are shown what a run's error says, which a step's exception may have written.
        trusted_origins: Origins of pages, besides this server's own, from which browsers may decide:
            ``https://shop.example``.
        checks_origin: Whether requests that change something are checked for the page that sent them; False where the
            framework does that itself.
        longest_wait: For how many seconds ``Prefer: wait=…`` is heeded at most.

    Raises:
        SettingsError: One of them cannot be what is meant.
    """

    authorize: Authorize | None = None
    actor: Actor | None = None
    shows: Iterable[str] = ()
    tells_errors: bool = False
    trusted_origins: Iterable[str] = ()
    checks_origin: bool = True
    longest_wait: float = 10.0

    def __post_init__(self) -> None:
        for name in ("authorize", "actor"):
            if (given := getattr(self, name)) is not None and not callable(given):
                raise SettingsError(f"{name}={value_text(given, 60)}: expected a function that is given the request.")
        shows = _listed("shows", self.shows, "keys, as ['order_id', 'reservation']")
        origins = _listed("trusted_origins", self.trusted_origins, "origins, as ['https://shop.example']")
        object.__setattr__(self, "shows", shows)
        object.__setattr__(self, "trusted_origins", tuple(map(check_trusted, origins)))
        if not 0 <= self.longest_wait <= 60:
            raise SettingsError(f"longest_wait={value_text(self.longest_wait, 60)}: expected 0 to 60 seconds.")


def _listed(name: str, given: object, expected: str) -> tuple[str, ...]:
    """Return texts that were given as any iterable; a single text would be taken for its letters."""
    values = None if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    if values is None or not all(isinstance(value, str) for value in values):
        raise SettingsError(f"{name}={value_text(given, 60)}: expected a list of {expected}.")
    return values
