"""The checks find what they are there for: a storm that is told wrongly, in every way that would matter."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from sagaz_integration_core.contract.records import RunRecord
from sagaz_integration_core.contract.statuses import Phase
from sagaz_integration_core.contract.waits import SignalRecord
from sagaz_integration_core.contract.webhooks import RUN_ENDED, SENT_OTHERWISE, WebhookOutcome, WebhookRecord
from storm.checker import contradictions
from storm.clients import Sent, Signalled
from storm.deliveries import Delivery
from storm.plan import STEPS, Order, Plan, Signal
from storm.report import summary
from storm.storm import Evidence
from support.ledger import Line

NOW = datetime(2026, 1, 1, tzinfo=UTC)
PLAN = Plan(workers=1, webs=1, sagas=1, seconds=0)
LONGER = replace(PLAN, seconds=10)


def order(fails: str | None = None, broken: str | None = None) -> Order:
    return Order(0, "deferred", 0.0, fails, (), broken, insists=False)


def run(status: str, saga_id: str = "s") -> RunRecord:
    context = json.dumps({"number": 0})
    return RunRecord(
        saga_id, "storm", status, context, None, None, 1, 0, None, None, None, NOW, NOW, NOW, "f"  # type: ignore[arg-type]
    )  # fmt: skip


def calls(*events: str, pid: int = 1, attempt: int = 1, start: float = 0.0) -> list[Line]:
    """Lines from words such as ``reserve do end``, one tenth of a second apart; ``end`` implies ``begin``."""
    lines, at = [], start
    for text in events:
        step, phase, event = text.split()
        for one in ("begin", event) if event != "begin" else ("begin",):
            lines.append(Line(one.replace(":", " "), "s", step, phase, attempt, pid, at, "key"))
            at += 0.1
    return lines


def evidence(lines: list[Line], one: Order | None = None, status: str = "completed", **changes) -> Evidence:
    made = Evidence(
        PLAN, [Sent(one or order(), saga_ids=["s"])], [run(status)], lines, {}, [], [], [0], kills=0, phases={}
    )
    return replace(made, **changes)


WHOLE = calls(*(f"{step} do end" for step in STEPS))
UNDONE = calls("reserve do end", "charge do failed", "reserve undo end")


def found(made: Evidence) -> list[str]:
    """The names of the checks that found something."""
    return [name for name, said in contradictions(made).items() if said]


def test_storms_without_contradictions_pass() -> None:
    assert found(evidence(WHOLE)) == []
    assert found(evidence(UNDONE, order("charge"), "rolled_back")) == []
    assert summary(evidence(WHOLE))["repeated calls"] == {}


def test_a_storm_in_which_most_kills_hit_somebody_at_work_passes() -> None:
    intended = LONGER.intended()
    assert intended.keys() == {"worker", "server"}
    assert found(evidence(killed_inside(), deaths={1: 0.4}, plan=LONGER, struck=intended)) == []


def test_a_step_that_failed_after_an_attempt_without_an_end_may_be_undone() -> None:
    lines = calls("reserve do end", "charge do begin")
    rest = ("charge do failed", "charge undo end", "reserve undo end")
    lines += calls(*rest, pid=2, attempt=2, start=lines[-1].at + 1)
    assert found(evidence(lines, order("charge"), "rolled_back", deaths={1: 0.4})) == []


def killed_inside(gap: float = 1.0) -> list[Line]:
    """The first process is killed inside of charge, and the second one begins ``gap`` seconds later."""
    first = calls("reserve do end", "charge do begin")
    return first + calls("charge do end", "pack do end", "ship do end", pid=2, attempt=2, start=first[-1].at + gap)


def test_a_call_that_a_kill_interrupted_may_be_repeated() -> None:
    assert found(evidence(killed_inside(), deaths={1: 0.4})) == []


def test_a_call_whose_end_was_not_recorded_yet_may_be_repeated() -> None:
    lines = calls("reserve do end") + calls(*(f"{step} do end" for step in STEPS), pid=2, attempt=2, start=3)
    assert found(evidence(lines, deaths={1: 0.2})) == []
    assert found(evidence(lines, outages=[(0.0, 0.5)])) == []
    assert found(evidence(lines, refused=[(0.0, 0.5)])) == []


WAITS = replace(order(), waits=("charge do", "ship do"))


def waited(*, first: str = "0-0", second: str = "0-1", spurious: bool = False) -> list[Line]:
    """Two steps that wait, and the signals that they took."""
    lines = calls("reserve do end", "charge do left")
    if spurious:
        lines += calls("charge do left", attempt=2, start=lines[-1].at + 0.1)
    lines += calls(f"charge do took:{first}", attempt=3, start=lines[-1].at + 0.1)[:2]
    lines += calls("charge do end", "pack do end", "ship do left", attempt=3, start=lines[-1].at + 0.1)[1:]
    lines += calls(f"ship do took:{second}", attempt=4, start=lines[-1].at + 0.1)
    return lines + calls("ship do end", attempt=4, start=lines[-1].at + 0.1)[1:]


def signalled(new: int = 1, unanswered: int = 0) -> list[Signalled]:
    return [Signalled(Signal("0-0", "order-0", 0.0, 2), [0.0] * new, 2 - new, unanswered)]


def untaken(signal_id: str) -> list[SignalRecord]:
    return [SignalRecord("id", "go", None, f"order-{signal_id[0]}", signal_id, None, "f", NOW, None, None)]


def test_storms_in_which_steps_wait_pass() -> None:
    assert found(evidence(waited(), WAITS, signalled=signalled())) == []
    assert found(evidence(waited(), WAITS, signalled=signalled(new=0, unanswered=1), signals=untaken("1-1"))) == []
    assert found(evidence(waited(spurious=True), WAITS, deaths={1: 0.35})) == []


def event(its_id: str, at: float, *statuses: int | None, **changes) -> Signalled:
    """An event, and what was answered to its deliveries, half a second after another; by default, 200 to one."""
    signal = Signal(its_id, "order-0", 0.0, 1, is_webhook=True, **changes)
    times = [(at + n / 2, status) for n, status in enumerate(statuses or (200,))]
    return Signalled(signal, deliveries=[Delivery(when, when + 0.1, status, status is None) for when, status in times])


def webhook(
    its_id: str, outcome: WebhookOutcome, reason: str | None = None, saga_id: str | None = None
) -> WebhookRecord:
    return WebhookRecord(
        f"{its_id} {outcome}", "shop", its_id, "storm.on_order", None, NOW, outcome, reason, saga_id, "go", "order-0",
        "f", None, None,
    )  # fmt: skip


def taken(its_id: str, step: str, phase: Phase = "do") -> SignalRecord:
    return SignalRecord(its_id, "go", None, "order-0", its_id, None, "f", NOW, NOW, "s", step, phase)


REFUSED = webhook("0-run", "quarantined", RUN_ENDED, "s")
LEFT = replace(untaken("0-1")[0], signal_id="0-run")
EVENTS = [
    event("0-0", 0.0),
    event("0-1", 0.5, None, 503, 200, 200, 200, is_repeated=True),
    event("0-run", 5, to_run=True),
]
ROWS = [webhook("0-0", "early"), webhook("0-1", "resumed"), REFUSED]
TAKEN = [taken("0-0", "charge"), taken("0-1", "ship")]


def delivered(lines: list[Line] | None = None, **changes) -> Evidence:
    """A storm with an event that came early, one that was delivered often, and one to a run that had ended."""
    given = {"signalled": EVENTS, "webhooks": ROWS, "signals": TAKEN, **changes}
    return evidence(waited() if lines is None else lines, WAITS, **given)


def killed(**changes) -> Evidence:
    """A storm in which workers died while a step and its compensation waited, and a server before it answered."""
    lines = calls("reserve do left") + calls("reserve do took:0-0", pid=2, attempt=2, start=0.3)
    lines += calls("reserve do end", "charge do failed", "reserve undo left", pid=2, attempt=2, start=0.4)[1:]
    lines += calls("reserve undo took:0-1", pid=3, attempt=3, start=1.2)
    lines += calls("reserve undo end", pid=3, attempt=3, start=1.3)[1:]
    given = {
        "plan": replace(PLAN, waits=True), "deaths": {1: 0.15, 2: 1.0, 9: 2.0}, "unanswered": {"0-run": (9, 2.0)},
        "signalled": [event("0-0", 0.0), event("0-1", 0.5), event("0-run", 1.95, None, 200, to_run=True)],
        "webhooks": ROWS, "signals": [taken("0-0", "reserve"), taken("0-1", "reserve", "undo")],
    }  # fmt: skip
    waits = replace(order("charge"), waits=("reserve do", "reserve undo"))
    return evidence(lines, waits, "rolled_back", **given | changes)


def test_storms_in_which_each_event_was_taken_or_is_unclaimed_pass() -> None:
    assert found(delivered()) == []
    kept = [*ROWS[:2], webhook("0-run", "early", saga_id="s")]
    assert found(delivered(webhooks=kept, signals=[*TAKEN, LEFT])) == []
    assert found(killed()) == []
    never = [*EVENTS[:2], Signalled(EVENTS[2].signal)]
    assert found(delivered(signalled=never, webhooks=ROWS[:2])) == []


def test_deaths_of_servers_with_an_event_are_counted() -> None:
    assert summary(killed())["deaths during"] == {
        "waiting steps": 1, "signals that were sent": 2, "waiting compensations": 1,
        "events between their reception and the answer": 1, "events between their recording and the answer": 1,
    }  # fmt: skip
    assert summary(delivered())["deaths during"] == {}


def test_what_came_before_during_and_after_waits_is_counted() -> None:
    assert summary(delivered())["webhooks came"] == {"before the wait": 1, "during the wait": 1, "after the end": 1}


CASES = {
    "a signal that two steps took": (evidence(waited(second="0-0"), WAITS), ["every_signal_had_one_effect"]),
    "another run's signal": (evidence(waited(second="1-1"), WAITS), ["every_signal_had_one_effect"]),
    "a step that went on without its signal": (evidence(WHOLE, WAITS), ["every_signal_had_one_effect"]),
    "a signal that was new for two of its senders": (
        evidence(waited(), WAITS, signalled=signalled(new=2)), ["every_signal_had_one_effect"],
    ),
    "a signal that was new for nobody": (
        evidence(waited(), WAITS, signalled=signalled(new=0)), ["every_signal_had_one_effect"],
    ),
    "a lost signal": (evidence(waited(), WAITS, signals=untaken("0-1")), ["every_signal_had_one_effect"]),
    "a wake-up for nothing": (evidence(waited(spurious=True), WAITS), ["repeated_calls_were_in_doubt"]),
    "a storm in which nobody died while anybody waited": (
        evidence(waited(), WAITS, plan=replace(PLAN, waits=True)),
        ["deaths_met_waits", "events_came_before_while_and_after_their_run_waited"],
    ),
    "a lost event": (
        delivered(webhooks=ROWS[:2]), ["each_event_was_recorded_once"],
    ),
    "an event that was taken, and is recorded nowhere": (
        delivered(webhooks=ROWS[1:]), ["each_event_was_recorded_once", "each_event_was_taken_once_or_is_unclaimed"],
    ),
    "an event that was recorded at each of its deliveries": (
        delivered(webhooks=[*ROWS, ROWS[1]]), ["each_event_was_recorded_once"],
    ),
    "an event that nobody has delivered": (
        delivered(signalled=[*EVENTS[:2], Signalled(EVENTS[2].signal)]), ["each_event_was_recorded_once"],
    ),
    "an event that nobody has": (
        delivered(webhooks=[*ROWS, webhook("0-9", "quarantined", RUN_ENDED)]), ["each_event_was_recorded_once"],
    ),
    "an event that is quarantined for another reason": (
        delivered(webhooks=[*ROWS[:2], replace(REFUSED, reason=SENT_OTHERWISE)]),
        ["each_event_was_taken_once_or_is_unclaimed"],
    ),
    "a quarantined event that was taken": (
        delivered(webhooks=[webhook("0-0", "quarantined", RUN_ENDED), *ROWS[1:]]),
        ["each_event_was_taken_once_or_is_unclaimed"],
    ),
    "a quarantined event that is kept for its run, too": (
        delivered(signals=[*TAKEN, LEFT]), ["each_event_was_taken_once_or_is_unclaimed"],
    ),
    "an event that was refused before its run had ended": (
        delivered(signalled=[*EVENTS[:2], event("0-run", 0.2, to_run=True)]),
        ["each_event_was_taken_once_or_is_unclaimed"],
    ),
    "an event that led to nothing": (
        delivered(webhooks=[*ROWS[:2], webhook("0-run", "ignored")]), ["each_event_was_taken_once_or_is_unclaimed"],
    ),
    "an unclaimed event that is nowhere to be seen": (
        delivered(webhooks=[*ROWS[:2], webhook("0-run", "early", saga_id="s")]),
        ["each_event_was_taken_once_or_is_unclaimed"],
    ),
    "a taken event that seems unclaimed": (
        delivered(signals=[TAKEN[0], *untaken("0-1")]),
        ["every_signal_had_one_effect", "each_event_was_taken_once_or_is_unclaimed"],
    ),
    "an event that seems taken, and no step was given it": (
        delivered(webhooks=[*ROWS[:2], webhook("0-run", "early")], signals=[*TAKEN, taken("0-run", "ship")]),
        ["each_event_was_taken_once_or_is_unclaimed"],
    ),
    "an event that two runs took": (
        delivered([*waited(), *(line._replace(saga_id="t") for line in waited() if line.event == "took 0-0")]),
        ["no_run_was_invented", "each_event_was_taken_once_or_is_unclaimed"],
    ),
    "an event that another run took": (
        delivered(
            waited(second="0-run"),
            webhooks=[*ROWS[:2], webhook("0-run", "resumed", saga_id="t")],
            signals=[TAKEN[0], taken("0-run", "ship"), *untaken("0-1")],
        ),
        ["each_event_was_taken_once_or_is_unclaimed"],
    ),
    "an event that was refused for its signature": (
        delivered(signalled=[event("0-0", 0.0, 400, 200), *EVENTS[1:]]), ["repeated_deliveries_were_received_too"],
    ),
    "an event that was refused when it was delivered again": (
        delivered(signalled=[EVENTS[0], event("0-1", 0.5, 200, 200, 409, is_repeated=True), EVENTS[2]]),
        ["repeated_deliveries_were_received_too"],
    ),
    "an event that was not delivered again": (
        delivered(signalled=[EVENTS[0], event("0-1", 0.5, 200, is_repeated=True), EVENTS[2]]),
        ["repeated_deliveries_were_received_too"],
    ),
    "a storm in which no server died that had recorded an event": (killed(unanswered={}), ["deaths_met_waits"]),
    "a storm in which no server died that was to answer": (
        killed(signalled=[event("0-0", 0.0), event("0-1", 0.5), event("0-run", 1.95, 503, 200, to_run=True)]),
        ["deaths_met_waits"],
    ),
    "a storm in which an event's connection ended and no server died": (
        killed(deaths={1: 0.15, 2: 1.0}), ["deaths_met_waits"],
    ),
    "a storm in which all events found their run waiting": (
        killed(webhooks=[webhook("0-0", "resumed"), *ROWS[1:]]),
        ["events_came_before_while_and_after_their_run_waited"],
    ),
    "a storm in which no event found its run waiting": (
        killed(webhooks=[ROWS[0], webhook("0-1", "early"), REFUSED]),
        ["events_came_before_while_and_after_their_run_waited"],
    ),
    "a storm in which no event came after the end": (
        killed(webhooks=[*ROWS[:2], webhook("0-run", "early", saga_id="s")],
               signals=[taken("0-0", "reserve"), taken("0-1", "reserve", "undo"), LEFT]),
        ["events_came_before_while_and_after_their_run_waited"],
    ),
    "a lost run": (evidence(WHOLE, runs=[]), ["acknowledged_starts_have_ended", "no_run_was_invented"]),
    "a run that never ends": (
        evidence(WHOLE, status="executing"), ["acknowledged_starts_have_ended", "final_statuses_are_truthful"],
    ),
    "an invented run": (evidence(WHOLE, sent=[Sent(order(), refusals=[(0.0, 503, "")])]), ["no_run_was_invented"]),
    "a start with two runs": (
        evidence(WHOLE, sent=[Sent(order(), saga_ids=["s", "t"])], runs=[run("completed"), run("completed", "t")]),
        ["acknowledged_starts_have_ended", "no_run_was_invented", "final_statuses_are_truthful"],
    ),
    "two processes at once": (
        evidence(killed_inside(gap=0.05), deaths={1: 0.4}),
        ["no_two_processes_were_inside_one_run", "repeated_calls_were_in_doubt"],
    ),
    "a repetition without a kill": (
        evidence(killed_inside()), ["no_two_processes_were_inside_one_run", "repeated_calls_were_in_doubt"],
    ),
    "a repetition of what was recorded": (
        evidence(WHOLE[:4] + calls(*(f"{s} do end" for s in STEPS), pid=2, attempt=2, start=3), deaths={1: 0.5}),
        ["repeated_calls_were_in_doubt"],
    ),
    "a repetition long after the end": (
        evidence(WHOLE[:2] + calls(*(f"{s} do end" for s in STEPS), pid=2, attempt=2, start=9), deaths={1: 8.0}),
        ["repeated_calls_were_in_doubt"],
    ),
    "a repetition after writes were refused to others": (
        evidence(WHOLE[:2] + calls(*(f"{s} do end" for s in STEPS), pid=2, attempt=2, start=9), refused=[(10.0, 11.0)]),
        ["repeated_calls_were_in_doubt"],
    ),
    "a step that was left out": (evidence(WHOLE[:6]), ["final_statuses_are_truthful"]),
    "a compensation that was left out": (
        evidence(UNDONE[:4], order("charge"), "rolled_back"), ["final_statuses_are_truthful"],
    ),
    "a broken compensation called rolled back": (
        evidence(UNDONE, order("charge", broken="reserve"), "rolled_back"), ["final_statuses_are_truthful"],
    ),
    "an undo of what failed for certain": (
        evidence(calls("reserve do end", "charge do failed", "charge undo end", "reserve undo end"), order("charge"),
                 "rolled_back"),
        ["final_statuses_are_truthful"],
    ),
    "steps in another order": (
        evidence(calls(*(f"{step} do end" for step in reversed(STEPS)))), ["final_statuses_are_truthful"],
    ),
    "an unclean end": (evidence(WHOLE, exit_codes=[0, 1]), ["the_last_processes_left_when_asked"]),
    "a worker that gave up": (evidence(WHOLE, exits=[(1, 5.0, 1)]), ["no_process_died_of_itself"]),
    "a storm that spared the workers": (
        evidence(killed_inside(), deaths={1: 0.4}, plan=LONGER, struck=Counter(server=20)), ["enough_was_killed"],
    ),
    "a storm that killed only who had nothing to do": (
        evidence(WHOLE, plan=LONGER, struck=Counter(worker=20, server=20)), ["enough_was_killed"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_must_not_happen_is_found(name: str) -> None:
    made, expected = CASES[name]
    assert found(made) == expected
