"""What the operators' commands tell of runs that wait, and do about them, on every store."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from datetime import UTC, datetime, timedelta

import pytest
from sagaz import Saga, action, compensate

from sagaz_durable.problem_types import SETTINGS_WRONG
from sagaz_durable.sagas import Sagas
from sagaz_integration_core.context.current_step import current_step

LATER = datetime(2036, 3, 4, 9, 30, tzinfo=UTC)


class PaidSaga(Saga):
    saga_name = "paid"

    @action("pay")
    async def pay(self, ctx):
        return dict(await current_step().signal("paid", key=ctx.get("key")))

    @compensate("pay")
    async def refund(self, ctx):
        await current_step().signal("refunded")

    @action("rest", depends_on=["pay"])
    async def rest(self, ctx):
        await current_step().sleep_until(LATER)
        if ctx.get("fails"):
            raise ValueError("no van")


@pytest.fixture
def command(command_line):
    """Runs a command line against a runtime whose runs wait."""
    return command_line(PaidSaga)


@pytest.fixture
def start(command):
    """Returns a function that starts a run and returns its saga_id."""

    def start(**context):
        return command.runner.run(Sagas(command.runtime).start(PaidSaga, context))

    return start


@pytest.fixture
def until(command):
    """Returns a function that returns when a call of a run waits, as `show` tells."""

    def until(saga_id, *, step, phase="do"):
        async def waits():
            store = command.runtime.store
            while True:
                found = [wait for wait in await store.load_waits(saga_id) if wait.outcome is None]
                run = await store.load(saga_id)
                if run.status == "waiting" and [(one.step, one.phase) for one in found] == [(step, phase)]:
                    return
                await asyncio.sleep(0.01)

        command.runner.run(asyncio.wait_for(waits(), 30))

    return until


def ended(command, saga_id):
    async def end():
        while True:
            run = await command.runtime.store.load(saga_id)
            if run.finished_at is not None:
                return run
            await asyncio.sleep(0.01)

    return command.runner.run(asyncio.wait_for(end(), 30))


def as_json(command, *words):
    return json.loads(command(*words, "--format", "json").output)


def test_list_tells_what_runs_wait_for_and_until_when(command, start, until):
    saga_id = start(key="pi_1")
    until(saga_id, step="pay")
    line = f"waiting       {saga_id}  paid: pay waits for signal 'paid'\n"
    assert command("list", "--runs", "--status", "waiting").output.endswith(line)
    [run] = as_json(command, "list", "--runs")
    [wait] = run["waits"]
    assert (wait["step"], wait["phase"], wait["name"], wait["key"], wait["until"]) == (
        "pay",
        "do",
        "paid",
        "pi_1",
        None,
    )
    assert "payload" not in wait
    command("signal", "paid", "--key", "pi_1")
    until(saga_id, step="rest")
    assert command("list", "--runs").output.endswith("rest waits for a time, until 2036-03-04 09:30:00 UTC\n")
    [run] = as_json(command, "list", "--runs")
    assert [datetime.fromisoformat(wait["until"]) for wait in run["waits"]] == [LATER]


def test_list_asks_once_for_what_all_of_its_runs_wait_for(command, start, until, monkeypatch):
    assert command("list", "--runs").output == "No runs.\n"
    saga_ids = [start(key=f"pi_{n}") for n in range(3)]
    for saga_id in saga_ids:
        until(saga_id, step="pay")
    store, asked = command.runtime.store, []
    load_waits = store.load_waits

    async def counting(*saga_ids):
        asked.append(saga_ids)
        return await load_waits(*saga_ids)

    monkeypatch.setattr(store, "load_waits", counting)
    assert command("list", "--runs").output.count("pay waits for signal 'paid'") == 3
    assert [sorted(one) for one in asked] == [sorted(saga_ids)]
    assert {run["saga_id"]: run["waits"][0]["key"] for run in as_json(command, "list", "--runs")} == {
        saga_id: f"pi_{n}" for n, saga_id in enumerate(saga_ids)
    }
    asked.clear()
    command("list", "--runs", "--status", "completed")
    assert asked == []


def test_list_tells_of_no_waits_where_there_are_none(command, start, until):
    saga_id = start(key="pi_1")
    until(saga_id, step="pay")
    command("cancel", saga_id)
    until(saga_id, step="pay", phase="undo")
    assert "compensation of pay waits for signal 'refunded'" in command("list", "--runs").output
    command("signal", "refunded", "--run", saga_id)
    assert ended(command, saga_id).status == "rolled_back"
    assert "waits for" not in command("list", "--runs").output
    assert [run["waits"] for run in as_json(command, "list", "--runs")] == [[]]


def test_show_tells_what_a_run_waits_for_since_when_and_until_when(command, start, until):
    saga_id = start(key="pi_1")
    until(saga_id, step="pay")
    text = command("show", saga_id).output
    assert re.search(r"\n  pay waits for signal 'paid', key pi_1, since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d\n", text)
    assert "  pay: waiting, has a compensation\n" in text
    # How long it took is not told of what is not over.
    assert re.search(r"  waiting    pay  attempt \d+\n", text)
    command("signal", "paid", "--run", saga_id)
    until(saga_id, step="rest")
    assert "\n  rest waits for a time, until 2036-03-04 09:30:00 UTC, since " in command("show", saga_id).output
    report = as_json(command, "show", saga_id)
    assert report["status"] == "waiting"
    [wait] = report["waits"]
    assert (wait["step"], wait["name"], datetime.fromisoformat(wait["until"])) == ("rest", "", LATER)
    assert report["state"]["rest"]["state"] == "waiting"


def test_show_tells_the_deadline(command):
    saga_id = command.runner.run(Sagas(command.runtime).start(PaidSaga, {}, deadline=LATER))
    assert "\ndeadline     2036-03-04 09:30:00\n" in command("show", saga_id).output
    assert datetime.fromisoformat(as_json(command, "show", saga_id)["deadline"]) == LATER


def test_check_counts_waiting_runs_signals_and_deadlines(command, start, until):
    saga_id = start()
    until(saga_id, step="pay")
    command("signal", "early", "--key", "k")
    text = command("check").output
    assert "1 waiting" in text
    assert "signals    1 not taken\n" in text
    assert "deadlines  0 passed\n" in text
    stats = as_json(command, "check")["stats"]
    assert (stats["counts"]["waiting"], stats["untaken_signals"], stats["overdue"]) == (1, 1, 0)


def test_a_signal_is_sent_with_its_payload_and_kept_in_the_audit(command, start, until, caplog):
    saga_id = start()
    until(saga_id, step="pay")
    caplog.set_level(logging.INFO, "sagaz_durable.audit")
    words = ("signal", "paid", "--run", saga_id, "--payload", '{"amount": 7}', "--by", "ann", "--reason", "a\r\nb")
    assert command(*words, "--dry-run").output == f"ok       {saga_id}  Would send the signal 'paid'.\n"
    assert command("list", "--signals").output == "No signals.\n"
    assert command(*words).output == f"ok       {saga_id}  Sent.\n"
    until(saga_id, step="rest")
    [note] = as_json(command, "show", saga_id)["audit"]
    assert (note["action"], note["actor"], note["reason"]) == ("signal", "ann", r"a\r\nb")
    [line] = [record.getMessage() for record in caplog.records if record.name == "sagaz_durable.audit"]
    assert line == rf"signal 'paid' by ann to run {saga_id} (a\r\nb)"
    steps = as_json(command, "show", saga_id, "--context")["steps"]
    assert [step["result"] for step in steps if step["step"] == "pay"] == [{"amount": 7}]


def test_signals_that_nobody_has_taken_are_listed_without_what_they_bring(command):
    command("signal", "paid", "--key", "pi_1", "--payload", '{"card": "4111"}', "--signal-id", "delivery-7")
    text = command("list", "--signals").output
    assert re.fullmatch(r"\S+ \S+  paid  to key pi_1  delivery-7\n", text)
    [signal] = as_json(command, "list", "--signals")
    assert (signal["name"], signal["key"], signal["saga_id"], signal["signal_id"]) == (
        "paid",
        "pi_1",
        None,
        "delivery-7",
    )
    assert "4111" not in text + json.dumps(signal)


@pytest.mark.parametrize(
    "words",
    [("--runs",), ("--status", "waiting"), ("--saga", "paid"), ("--owner", "u"), ("--correlation-id", "c")],
    ids=lambda words: words[0],
)
def test_what_chooses_among_runs_is_refused_where_signals_are_listed(command, words):
    said = command("list", "--signals", *words)
    assert (said.exit_code, f"{words[0]} is about runs; leave it out, or --signals." in said.output) == (1, True)


@pytest.mark.parametrize(
    "words",
    [("--status", "failed"), ("--saga", "paid"), ("--correlation-id", "c"), ("--limit", "50")],
    ids=lambda words: words[0],
)
def test_what_chooses_among_runs_is_refused_where_sagas_are_listed(command, words):
    said = command("list", *words)
    about = "runs or signals; add --runs or --signals" if words[0] == "--limit" else "runs; add --runs"
    told = f"Error: {words[0]} is about {about}, or leave it out.\nSee {SETTINGS_WRONG.address}\n"
    assert (said.exit_code, said.output) == (1, told)
    assert command("list", "--runs", *words).exit_code == 0


def test_what_cannot_be_sent_is_refused_and_the_exit_code_is_1(command, start, until):
    saga_id = start()
    until(saga_id, step="pay")
    command("cancel", saga_id)
    until(saga_id, step="pay", phase="undo")
    command("signal", "refunded", "--run", saga_id)
    ended(command, saga_id)
    for words in (("--run", saga_id), ("--run", saga_id, "--dry-run"), ("--run", "nowhere")):
        said = command("signal", "late", *words)
        assert (said.exit_code, said.output.split()[0]) == (1, "refused"), words
    command("signal", "paid", "--key", "k", "--payload", '{"n": 1}')
    again = command("signal", "paid", "--key", "k", "--payload", '{"n": 2}')
    assert (again.exit_code, "with another payload" in again.output) == (1, True)
    for wrong in ("[1]", "{", '"x"'):
        said = command("signal", "paid", "--key", "k", "--payload", wrong)
        assert (said.exit_code, "--payload" in said.output) == (1, True)
    for words in ((), ("--run", saga_id, "--key", "k")):
        assert "Say to whom: --run SAGA_ID, or --key KEY" in command("signal", "paid", *words).output


def test_run_now_ends_a_sleep_and_no_wait_for_a_signal(command, start, until):
    saga_id = start()
    until(saga_id, step="pay")
    refused = command("run-now", saga_id)
    assert (refused.exit_code, "waits for the signal 'paid'" in refused.output) == (1, True)
    command("signal", "paid", "--run", saga_id)
    until(saga_id, step="rest")
    told = command("run-now", saga_id, "--by", "ann", "--reason", "no need to wait")
    assert told.output == f"ok       {saga_id}  Its sleep is over now.\n"
    assert ended(command, saga_id).status == "completed"
    assert [note["action"] for note in as_json(command, "show", saga_id)["audit"]] == ["signal", "run-now"]


def test_run_now_brings_forward_what_is_started_for_later(command, until):
    later = datetime.now(UTC) + timedelta(days=1)
    saga_id = command.runner.run(Sagas(command.runtime).start(PaidSaga, {}, not_before=later))
    assert command("run-now", "--all", "--saga", "paid").output == f"ok       {saga_id}  It is due now.\n"
    until(saga_id, step="pay")
