"""How the users of a framework spell what messages tell them to set, to run and to install."""

from __future__ import annotations

from sagaz_integration_core.contract.record import record

__all__ = ["NEUTRAL", "Wording"]


@record
class Wording:
    """The words of one framework; a plugin gives them to the settings that it reads, and by default they are nobody's.

    Attributes:
        settings: A setting, around its ``{name}`` in upper case.
        commands: A command, around its ``{name}`` and the ``{options}`` behind it, each with a blank before it.
        between: What stands between the words of a command's name.
        distribution: What is installed, whose extras bring drivers.
        migrate: The command that creates the tables, where the framework has one of its own: it knows nothing of
            tables that are kept elsewhere.
        sagas: Where sagas are registered.
        worker: How a worker runs inside the application.
        session_factory: How the sessions of transactional steps are given.
        celery: How a Celery application is made known; None where none is used.
    """

    settings: str = "SAGAZ_{name}"
    commands: str = "the command {name}{options}"
    between: str = "-"
    distribution: str = "sagaz-durable"
    migrate: str | None = None
    sagas: str = "sagas=[…]"
    worker: str = "worker=True"
    session_factory: str = "session_factory=…"
    celery: str | None = None

    def setting(self, name: str) -> str:
        """Spell a setting, e.g. ``max_due``."""
        return self.settings.format(name=name.upper())

    def command(self, name: str, options: str = "") -> str:
        """Spell a command, as in ``command("events", "--retry")``."""
        if name == "migrate" and self.migrate is not None:
            return self.migrate
        return self.commands.format(name=name.replace("-", self.between), options=f" {options}" if options else "")

    def install(self, extra: str) -> str:
        """Spell the command that installs what an extra brings, e.g. ``postgres``."""
        return f'pip install "{self.distribution}[{extra}]"'


NEUTRAL = Wording()
"""The words where no framework is at hand."""
