"""The operators' commands as FastAPI's and Flask's command lines have them, on every store."""

from __future__ import annotations

import asyncio
import json

import pytest
from sagaz import Saga, action, compensate

from sagaz_durable.cli.options import _person
from sagaz_durable.cli.runs import read_age
from sagaz_durable.problem_types import NOT_FOUND, PAGE, REFUSED
from sagaz_durable.sagas import Sagas
from sagaz_durable.workers import worker
from sagaz_integration_core.contract.request_keys import NewKey


class BrokenSaga(Saga):
    saga_name = "broken"
    broken = True

    @action("reserve")
    async def reserve(self, ctx):
        return {"api_key": "hunter2", "place": "A 1"}

    @compensate("reserve")
    async def release(self, ctx):
        if BrokenSaga.broken:
            raise ValueError("the shelf is locked")

    @action("ship", depends_on=["reserve"])
    async def ship(self, ctx):
        raise ValueError("no van")


@pytest.fixture(autouse=True)
def broken():
    BrokenSaga.broken = True


@pytest.fixture
def command(command_line):
    """Runs a command line against a runtime whose runs fail."""
    return command_line(BrokenSaga)


@pytest.fixture
def fail(command, ended):
    """Has a run fail, and returns its saga_id."""

    def fail(**options):
        saga_id = command.runner.run(Sagas(command.runtime).start(BrokenSaga, {"password": "hunter2"}, **options))
        assert wait(command, ended, saga_id).status == "failed"
        return saga_id

    return fail


def wait(command, ended, saga_id):
    return command.runner.run(ended(command.runtime, saga_id))


def test_list_runs_filters_and_never_shows_contexts(command, fail):
    saga_id = fail(owner="user:42")
    text = command("list", "--runs", "--status", "failed", "--saga", "broken", "--owner", "user:42").output
    assert f"failed        {saga_id}  broken: step 'ship': ValueError: no van" in text
    [run] = json.loads(command("list", "--runs", "--format", "json").output)
    assert (run["saga_id"], run["status"], run["owner"], "context" in run) == (saga_id, "failed", "user:42", False)
    assert command("list", "--runs", "--owner", "user:4").output == "No runs.\n"
    assert command("list", "--runs", "--status", "completed").output == "No runs.\n"
    assert command("list", "--runs", "--correlation-id", "another").output == "No runs.\n"
    assert "broken  (" in command("list").output


def test_what_is_refused_is_told_with_where_that_is_explained(command, fail):
    saga_id = fail()
    told = command("run-now", saga_id, saga_id, "nowhere")
    assert told.exit_code == 1
    assert told.output.splitlines()[-2:] == [f"See {REFUSED.address}", f"See {NOT_FOUND.address}"]
    outcomes = json.loads(command("run-now", saga_id, "nowhere", "--format", "json").output)
    assert [outcome["type"] for outcome in outcomes] == [REFUSED.address, NOT_FOUND.address]
    [done] = json.loads(command("retry", saga_id, "--dry-run", "--format", "json").output)
    assert (done["done"], done["type"]) == (True, None)
    assert "See " not in command("retry", saga_id, "--dry-run").output


def test_an_error_is_told_with_where_it_is_explained_and_to_programs_as_json(command):
    told = command("show", "nowhere", apart=True)
    assert (told.exit_code, told.stdout) == (1, "")
    text, see = told.stderr.splitlines()
    assert (text.startswith("Error: There is no run nowhere"), see) == (True, f"See {NOT_FOUND.address}")
    told = command("show", "nowhere", "--format", "json", apart=True)
    document = json.loads(told.stdout)
    assert (document["type"], document["title"]) == (NOT_FOUND.address, NOT_FOUND.title)
    assert told.stderr == f"Error: {document['detail']}\nSee {NOT_FOUND.address}\n"
    assert f"See {PAGE}#settings-wrong" in command("list", "--limit", "3", apart=True).stderr


def test_events_that_cannot_be_retried_are_told_with_where_that_is_explained(command):
    assert command("events", "e-1", "--retry").output.endswith(f"\nSee {PAGE}#event-not-set-aside\n")
    told = json.loads(command("events", "e-1", "--retry", "--format", "json").output)
    assert (told["refused"], told["type"]) == (["e-1"], f"{PAGE}#event-not-set-aside")


def test_show_tells_all_of_a_run_and_masks_secrets(command, fail):
    saga_id = fail(owner="user:42")
    text = command("show", saga_id).output
    for part in (
        "failed",
        "owner        user:42",
        "reserve (compensation)",
        "ValueError: the shelf is locked",
        "no van",
    ):
        assert part in text
    assert "A 1" not in text
    shown = command("show", saga_id, "--context").output
    assert '"place": "A 1"' in shown
    report = json.loads(command("show", saga_id, "--context", "--format", "json").output)
    assert report["context"] == {"password": "***"}
    assert report["steps"][0]["result"] == {"api_key": "***", "place": "A 1"}
    assert "hunter2" not in text + shown + json.dumps(report)


def test_show_of_a_run_that_is_not_there_is_an_error(command):
    said = command("show", "nowhere")
    assert (said.exit_code, said.output) == (
        1,
        "Error: There is no run nowhere in this store. It may have been pruned, or be in another database.\n"
        f"See {NOT_FOUND.address}\n",
    )


def test_retry_of_all_failed_runs_can_be_tried_without_effect(command, fail, ended):
    saga_ids = {fail(), fail()}
    tried = command("retry", "--all", "--dry-run")
    assert tried.exit_code == 0
    assert tried.output.count("Would do: Its compensation is tried again.") == 2
    BrokenSaga.broken = False
    outcomes = json.loads(command("retry", "--all", "--saga", "broken", "--reason", "unlocked", "--format=json").output)
    assert {outcome["saga_id"] for outcome in outcomes if outcome["done"]} == saga_ids
    assert {wait(command, ended, saga_id).status for saga_id in saga_ids} == {"rolled_back"}
    shown = command("show", saga_ids.pop()).output
    assert f"retry by {_person()}: failed -> compensating (unlocked)" in shown


def test_what_is_refused_is_said_for_each_run_and_the_exit_code_is_1(command, fail):
    saga_id = fail()
    said = command("retry", saga_id, "nowhere")
    assert said.exit_code == 1
    assert f"ok       {saga_id}" in said.output
    assert "refused  nowhere  There is no run nowhere" in said.output


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["retry"], "Name the runs by their saga_id, or say --all"),
        (["retry", "x", "--all"], "one of the two"),
        (["cancel", "x", "--saga", "broken"], "leave it out, or say --all"),
        (["prune", "--older-than", "soon"], "'soon' is no age; expected a number and a unit"),
        (["prune"], "Say --older-than AGE: a number and a unit"),
        (["prune", "x"], "A saga_id goes with --contexts"),
        (["prune", "--older-than", "1d", "--reason", "x"], "--reason goes with --contexts"),
        (["prune", "--contexts"], "Say the runs by their saga_id, or"),
        (["prune", "--contexts", "x", "--older-than", "1d"], "one of the two"),
        (["prune", "--contexts", "x", "--status", "failed"], "--status chooses among old runs"),
        (["resolve", "x", "--as", "completed"], "Missing option '--reason'"),
        (["resolve", "x", "--as", "failed", "--reason", "y"], "'failed' is not one of"),
        (["list", "--runs", "--limit", "0"], "--limit"),
    ],
)
def test_a_wrong_command_line_is_told_with_the_fix(command, words, told):
    said = command(*words)
    assert said.exit_code != 0
    assert told in said.output


def test_cancel_takes_a_run_that_has_not_begun(command, ended):
    from datetime import UTC, datetime, timedelta

    later = datetime.now(UTC) + timedelta(hours=1)
    saga_id = command.runner.run(Sagas(command.runtime).start(BrokenSaga, {}, not_before=later))
    assert command("cancel", saga_id, "--by", "bob", "--reason", "mistake").exit_code == 0
    record = wait(command, ended, saga_id)
    assert (record.status, record.error) == ("rolled_back", "cancelled by bob: mistake")


def test_resolve_keeps_who_and_why(command, fail):
    saga_id = fail()
    said = command("resolve", saga_id, "--as", "rolled_back", "--reason", "shelf opened by hand", "--by", "bob")
    assert said.output == f"ok       {saga_id}  Settled as rolled_back.\n"
    [note] = json.loads(command("show", saga_id, "--format", "json").output)["audit"]
    assert (note["action"], note["actor"], note["reason"]) == ("resolve", "bob", "shelf opened by hand")


def test_prune_deletes_failed_runs_only_when_asked_for(command, fail):
    fail()
    assert "Deleted 0 runs" in command("prune", "--older-than", "0s").output
    counted = command("prune", "--older-than", "0s", "--status", "failed", "--dry-run", "--format", "json")
    assert (json.loads(counted.output)["runs"], json.loads(counted.output)["dry_run"]) == (1, True)
    assert "Deleted 1 runs" in command("prune", "--older-than", "0s", "--status", "failed").output
    assert command("list", "--runs").output == "No runs.\n"


def test_prune_deletes_signals_sent_in_vain_and_tells_how_many(command, caplog):
    from datetime import UTC, datetime, timedelta

    sagas, later = Sagas(command.runtime), datetime.now(UTC) + timedelta(hours=1)
    saga_id = command.runner.run(sagas.start(BrokenSaga, {}, not_before=later))
    command.runner.run(sagas.send_signal("paid", {}, saga_id=saga_id))
    for key in ("pi_1", "pi_2"):
        command.runner.run(sagas.send_signal("paid", {}, key=key))
    would = command("prune", "--older-than", "0s", "--dry-run")
    assert "Would delete 0 runs" in would.output
    assert "and 2 signals that were taken, or sent in vain, before that." in would.output
    assert json.loads(command("prune", "--older-than", "0s", "--dry-run", "--format", "json").output)["signals"] == 2
    assert command.runner.run(command.runtime.store.count_untaken()) == 3
    while command.runner.run(command.runtime.store.count_untaken()) == 3:
        # Those that the worker is just looking at are left for the next time.
        said = command("prune", "--older-than", "0s", "--by", "ann")
    assert "Deleted 0 runs" in said.output
    assert "and 2 signals that were taken, or sent in vain, before that." in said.output
    assert "prune by ann: 2 signals that were taken, or sent in vain, before" in caplog.text
    assert command.runner.run(command.runtime.store.count_untaken()) == 1


def test_prune_deletes_the_answers_to_requests_whose_time_is_over_and_tells_how_many(command_line, caplog, monkeypatch):
    # The worker would delete some of them first.
    monkeypatch.setattr(worker, "erase_regularly", lambda _: asyncio.sleep(3_600))
    command = command_line()
    store = command.runtime.store
    for number in range(3):
        key = NewKey(f"k{number}", "f", None, "r1", 30.0, 0.0 if number else 86_400.0)
        command.runner.run(store.claim_key(key))
        command.runner.run(store.answer_key(key.id, "r1", "{}"))
    said = command("prune", "--older-than", "0s", "--by", "ann")
    assert "and 2 answers to requests whose time was over." in said.output
    assert "prune by ann: 2 answers to requests whose time was over" in caplog.text
    assert command.runner.run(store.find_key("k0")).answer == "{}"


def test_prune_contexts_erases_what_a_run_was_given_and_returned_and_says_who_did_it(command, fail):
    saga_id = fail()
    assert "Would erase context" in command("prune", "--contexts", saga_id, "--dry-run").output
    assert '"place": "A 1"' in command("show", saga_id, "--context").output
    erased = command("prune", "--contexts", saga_id, "nowhere", "--by", "ann", "--reason", "ticket 7")
    assert erased.exit_code == 1
    assert f"ok       {saga_id}  Erased context" in erased.output
    assert "refused  nowhere  There is no run nowhere" in erased.output
    report = json.loads(command("show", saga_id, "--context", "--format", "json").output)
    assert (report["context"], report["status"]) == ({}, "failed")
    assert {entry["result"] for entry in report["steps"]} == {None}
    assert [entry["error"] for entry in report["steps"] if entry["step"] == "ship"] == ["ValueError: no van"]
    [note] = report["audit"]
    assert (note["action"], note["actor"], note["reason"]) == ("erase", "ann", "ticket 7")
    again = command("prune", "--contexts", saga_id)
    assert (again.exit_code, again.output) == (0, f"ok       {saga_id}  It was erased before.\n")


@pytest.mark.parametrize("action", ["retry", "cancel"])
def test_an_erased_run_is_neither_retried_nor_cancelled_and_can_be_resolved(command, fail, action):
    saga_id = fail()
    command("prune", "--contexts", saga_id)
    said = command(action, saga_id)
    assert said.exit_code == 1
    assert f"What run {saga_id} was given was erased, so that it can neither go on nor be compensated" in said.output
    assert command("resolve", saga_id, "--as", "rolled_back", "--reason", "by hand").exit_code == 0
    assert command(action, saga_id).exit_code == 1


def test_prune_contexts_takes_old_failed_runs_only_when_asked_for(command, fail):
    fail()
    words = ("prune", "--contexts", "--older-than", "0s")
    assert "Erased the contexts of 0 runs" in command(*words).output
    assert "Would erase the contexts of 1 runs" in command(*words, "--status", "failed", "--dry-run").output
    assert "Erased the contexts of 1 runs" in command(*words, "--status", "failed").output
    assert "Erased the contexts of 0 runs" in command(*words, "--status", "failed").output


def test_a_run_that_has_not_ended_is_not_erased(command):
    from datetime import UTC, datetime, timedelta

    later = datetime.now(UTC) + timedelta(hours=1)
    saga_id = command.runner.run(Sagas(command.runtime).start(BrokenSaga, {}, not_before=later))
    said = command("prune", "--contexts", saga_id)
    assert (said.exit_code, "Only a run that has ended can be erased" in said.output) == (1, True)


def test_ages_are_read_in_seconds_minutes_hours_and_days():
    assert [read_age(text).total_seconds() for text in ("90s", "2m", "3h", "1d")] == [90, 120, 10_800, 86_400]
