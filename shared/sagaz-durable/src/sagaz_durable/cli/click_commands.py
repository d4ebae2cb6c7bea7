"""The operators' commands for click, which the command lines of FastAPI and Flask share."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, get_args

import click

from sagaz_durable.cli.numbers import COMMAND_NUMBERS
from sagaz_durable.cli.runs import (
    AGE,
    HELP,
    PruneWords,
    Said,
    Selection,
    decide_runs,
    list_runs,
    person,
    prune_runs,
    resolve_runs,
    show_run,
)
from sagaz_durable.operations import catalogue as commands
from sagaz_durable.operations.checking import THRESHOLDS, Health, Limits, health_json, health_text
from sagaz_durable.operations.operator import Operator, Settlement
from sagaz_integration_core.contract.listings import RunFilter
from sagaz_integration_core.contract.records import ACTIVE, FINISHED
from sagaz_integration_core.error_text import value_text

if TYPE_CHECKING:
    from sagaz_durable.runtime.runtime import SagazRuntime

__all__ = [
    "add_operator_commands",
    "check_options",
    "concurrency_option",
    "format_option",
    "heartbeat_file_option",
    "limit_type",
    "print_health",
]

Work = Callable[["SagazRuntime"], Coroutine[Any, Any, Said]]

format_option = click.option(
    "--format", "output", type=click.Choice(["text", "json"]), default="text", show_default=True
)
heartbeat_file_option = click.option(
    "--heartbeat-file",
    type=click.Path(dir_okay=False),
    help="Write this file every 5 s: 'ready', or why not; for probes that start no interpreter.",
)


class _Number(click.ParamType):  # type: ignore[type-arg,unused-ignore]
    """A number as `COMMAND_NUMBERS` has it."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number, or say what was expected."""
        try:
            return COMMAND_NUMBERS[self.name].read(value)
        except ValueError as error:
            self.fail(f"{value_text(value, 60)}: {error}", param, ctx)


concurrency_option = click.option(
    "--concurrency", type=_Number("concurrency"), help="The most runs at once; by default SAGAZ_CONCURRENCY."
)
limit_type = _Number("limit")
_status = click.option(
    "--status", "statuses", multiple=True, type=click.Choice([*ACTIVE, *FINISHED]), help="Of this status; repeatable."
)
_saga = click.option("--saga", "saga_name", help="Of this saga only.")
_saga_ids = click.argument("saga_ids", nargs=-1, metavar="[SAGA_ID]...")
_dry_run = click.option("--dry-run", is_flag=True, help="Tell what would be done, and do nothing.")
_by = click.option("--by", "actor", default=person, help="Who decides, for the audit; by default the system's user.")


def check_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options of ``check``; its function gets ``limits``, ``only_reads`` and ``output``."""

    @wraps(command)
    def with_limits(**values: Any) -> None:
        command(limits=Limits(**{name: values.pop(name) for name in THRESHOLDS}), **values)

    seconds, number = _Number("seconds"), _Number("count")
    defaults = Limits()
    for name in reversed(THRESHOLDS):
        kind, metavar = (seconds, "SECONDS") if name.endswith("age") else (number, "N")
        option = f"--{name.replace('_', '-')}"
        default = getattr(defaults, name)
        with_limits = click.option(option, type=kind, metavar=metavar, default=default, help=THRESHOLDS[name])(
            with_limits
        )
    reads = click.option("--read-only", "only_reads", is_flag=True, help="Ask for no right to write.")
    return reads(format_option(with_limits))


def print_health(health: Health, output: str) -> None:
    """Print what ``check`` found, and exit with 1 unless all is well."""
    click.echo(health_json(health) if output == "json" else health_text(health))
    raise SystemExit(0 if health.healthy else 1)


def add_operator_commands(
    group: click.Group,
    reach: Callable[..., Said],
    *,
    hint: str,
    look: Callable[..., Said] | None = None,
    target: Sequence[click.Parameter] = (),
) -> None:
    """Add list, show, retry, cancel, resolve and prune to a group.

    Args:
        reach: Does the work with the application's open runtime; called with the values of ``target``, too, and with
            ``only_reads=True`` for what writes nothing.
        hint: Where the framework's users register sagas.
        look: The same with a runtime that need not be open, where that is less: listing sagas needs no store.
        target: What names the application on the command line, if it has to be named.
    """
    made = [_list(reach, look or reach, hint), _show(reach), _resolve(reach), _prune(reach)]
    made += [_decide(reach, "retry", ("failed",)), _decide(reach, "cancel", ("pending", "executing"))]
    for command in made:
        command.params[:0] = target
        group.add_command(command)


def _list(reach: Callable[..., Said], look: Callable[..., Said], hint: str) -> click.Command:
    @click.command("list", help=HELP["list"])
    @click.option("--runs", is_flag=True, help="List runs instead of sagas.")
    @_status
    @_saga
    @click.option("--correlation-id", help="Started by the request with this correlation id only.")
    @click.option("--limit", type=limit_type, default=50, show_default=True, help="At most so many runs.")
    @format_option
    def command(
        runs: bool, statuses: Any, saga_name: Any, correlation_id: Any, limit: int, output: Any, **target: Any
    ) -> None:
        async def sagas(runtime: SagazRuntime) -> Said:
            found = commands.list_sagas(runtime)
            return Said(commands.as_json(found) if output == "json" else commands.list_text(found, hint))

        query = RunFilter(statuses, saga_name, correlation_id, limit)
        if runs:
            _print(reach(lambda runtime: list_runs(runtime.store, query, output), only_reads=True, **target))
        else:
            _print(look(sagas, only_reads=True, **target))

    return command


def _show(reach: Callable[..., Said]) -> click.Command:
    @click.command("show", help=HELP["show"])
    @click.argument("saga_id")
    @click.option("--context", "values", is_flag=True, help="With its context and results; secrets are masked.")
    @format_option
    def command(saga_id: str, values: bool, output: Any, **target: Any) -> None:
        async def work(runtime: SagazRuntime) -> Said:
            redact_keys = runtime.settings.redact_keys
            return await show_run(_operator(runtime), saga_id, output, values=values, redact_keys=redact_keys)

        _print(reach(work, only_reads=True, **target))

    return command


def _decide(reach: Callable[..., Said], action: Any, statuses: tuple[Any, ...]) -> click.Command:
    @click.command(action, help=HELP[action])
    @_saga_ids
    @click.option("--all", "every", is_flag=True, help=f"All that are {' or '.join(statuses)}.")
    @_saga
    @click.option("--reason", default="", help="Why, for the audit.")
    @_by
    @_dry_run
    @format_option
    def command(
        saga_ids: tuple[str, ...],
        every: bool,
        saga_name: str | None,
        reason: str,
        actor: str,
        dry_run: bool,
        output: Any,
        **target: Any,
    ) -> None:
        chosen = Selection(saga_ids, every, statuses, saga_name)

        async def work(runtime: SagazRuntime) -> Said:
            operator = _operator(runtime, actor)
            return await decide_runs(operator, runtime.store, action, chosen, output, reason=reason, dry_run=dry_run)

        _print(reach(work, **target))

    return command


def _resolve(reach: Callable[..., Said]) -> click.Command:
    @click.command("resolve", help=HELP["resolve"])
    @click.argument("saga_ids", nargs=-1, required=True, metavar="SAGA_ID...")
    @click.option("--as", "settled", type=click.Choice(get_args(Settlement)), required=True, help="What it came to.")
    @click.option("--reason", required=True, help="What was done; it is kept.")
    @_by
    @_dry_run
    @format_option
    def command(
        saga_ids: tuple[str, ...], settled: Any, reason: str, actor: str, dry_run: bool, output: Any, **target: Any
    ) -> None:
        _print(
            reach(
                lambda runtime: resolve_runs(
                    _operator(runtime, actor), saga_ids, settled, output, reason=reason, dry_run=dry_run
                ),
                **target,
            )
        )

    return command


def _prune(reach: Callable[..., Said]) -> click.Command:
    @click.command("prune", help=HELP["prune"])
    @_saga_ids
    @click.option(
        "--contexts", is_flag=True, help="Erase contexts, results and payloads of sent events; keep journals."
    )
    @click.option("--older-than", metavar="AGE", help=f"Ended before that: {AGE}.")
    @click.option(
        "--status",
        "statuses",
        multiple=True,
        type=click.Choice(FINISHED),
        help="Of this status; repeatable. By default completed and rolled_back: failed ones need a person.",
    )
    @click.option("--reason", default="", help="Why, for the audit; with --contexts.")
    @_by
    @_dry_run
    @format_option
    def command(
        saga_ids: tuple[str, ...],
        contexts: bool,
        older_than: str | None,
        statuses: tuple[Any, ...],
        reason: str,
        actor: str,
        dry_run: bool,
        output: Any,
        **target: Any,
    ) -> None:
        words = PruneWords(saga_ids, contexts, older_than, statuses, reason)
        _print(reach(lambda runtime: prune_runs(_operator(runtime, actor), words, output, dry_run=dry_run), **target))

    return command


def _operator(runtime: SagazRuntime, actor: str = "") -> Operator:
    return Operator(runtime.store, runtime.registry, actor=actor, publishes=runtime.publishes)


def _print(said: Said) -> None:
    click.echo(said.text)
    raise SystemExit(0 if said.done else 1)
