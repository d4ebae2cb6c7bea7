"""How settings, commands and extras are spelled, with a framework and without one."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sagaz_durable.settings.settings import Settings, prefixed
from sagaz_durable.settings.wording import NEUTRAL, Wording
from sagaz_integration_core.errors import SettingsError

OWN = Wording(
    settings="queue.{name}", commands="`queue {name}{options}`", distribution="queue-sagaz", migrate="`queue upgrade`"
)


def test_without_a_framework_settings_are_those_of_the_environment_and_commands_nobodys():
    assert NEUTRAL.setting("max_due") == "SAGAZ_MAX_DUE"
    assert NEUTRAL.command("events", "--retry") == "the command events --retry"
    assert NEUTRAL.install("postgres") == 'pip install "sagaz-durable[postgres]"'
    assert Settings().wording is Settings.from_env({}).wording is NEUTRAL


def test_a_plugin_gives_its_words_to_the_settings_that_it_reads():
    settings = Settings.load(prefixed({"SAGAZ_MAX_DUE": 5}), wording=OWN)
    assert settings.wording.setting("max_due") == "queue.MAX_DUE"
    assert settings.wording.command("events", "--retry") == "`queue events --retry`"
    assert settings.wording.command("migrate") == "`queue upgrade`"
    assert settings.wording.install("postgres") == 'pip install "queue-sagaz[postgres]"'
    assert replace(settings, max_due=6).wording is OWN


def test_the_words_of_a_commands_name_are_joined_as_the_framework_joins_them():
    assert NEUTRAL.command("run-now") == "the command run-now"
    assert replace(OWN, between="_").command("run-now") == "`queue run_now`"


def test_two_frameworks_in_one_process_keep_their_words_and_equal_settings_are_equal():
    ours, others = Settings.load(wording=OWN), Settings.load()
    assert (ours.wording, others.wording) == (OWN, NEUTRAL)
    assert ours == others


@pytest.mark.parametrize(
    ("read", "named"),
    [
        (lambda: Settings.load(prefixed({"SAGAZ_LEASE_SECONDS": 12}), wording=OWN), "queue.RENEW_SECONDS=10"),
        (lambda: Settings.from_mapping({"LEASE_SECONDS": 12}), 'SAGAZ["RENEW_SECONDS"]=10'),
        (lambda: Settings.from_mapping({"LEASE_SECONDS": 12}, "config"), 'config["RENEW_SECONDS"]=10'),
        (lambda: Settings.from_prefixed({"Q_LEASE_SECONDS": 12}, "Q_"), "Q_RENEW_SECONDS=10"),
    ],
)
def test_a_default_that_contradicts_a_setting_is_named_as_it_would_be_set(read, named):
    with pytest.raises(SettingsError) as caught:
        read()
    assert f"{named} (the default) and " in str(caught.value)


def test_a_key_that_cannot_be_written_plainly_is_shown_as_python_does():
    with pytest.raises(SettingsError, match=r"SAGAZ\['max\\ndue'\]: no such setting"):
        Settings.from_mapping({"max\ndue": 1})
