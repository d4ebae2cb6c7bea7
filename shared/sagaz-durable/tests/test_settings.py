"""What a user may rely on when writing settings, and what they are told when one is wrong."""

from __future__ import annotations

import dataclasses
import os

import pytest

from sagaz_durable.settings.rules import RULES
from sagaz_durable.settings.settings import Settings, arguments, environment, prefixed
from sagaz_integration_core.errors import SettingsError

SECRET = "hunter2"


def refusal(load, *args, **kwargs) -> str:
    with pytest.raises(SettingsError) as caught:
        load(*args, **kwargs)
    assert SECRET not in str(caught.value)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    return str(caught.value)


def test_without_any_setting_the_defaults_hold():
    settings = Settings.from_env({})

    assert settings == Settings()
    assert settings.storage_url == "memory://"
    assert (settings.lease_seconds, settings.renew_seconds, settings.max_failures) == (30.0, 10.0, 10)
    assert settings.explicit == frozenset()


def test_every_field_has_a_rule_that_its_default_obeys():
    names = {entry.name: entry.default for entry in dataclasses.fields(Settings)}
    del names["explicit"], names["wording"]

    assert names.keys() == RULES.keys()
    assert all(type(RULES[name].read(default)) is type(default) for name, default in names.items())


def test_the_same_settings_can_be_written_for_django_for_flask_and_in_the_environment():
    django = Settings.from_mapping({"STORAGE_URL": "sqlite:///a.db", "POLL_SECONDS": 2, "METRICS": False})
    flask = Settings.from_prefixed({
        "SAGAZ_STORAGE_URL": "sqlite:///a.db", "SAGAZ_POLL_SECONDS": 2.0, "SAGAZ_METRICS": False, "DEBUG": True,
    })  # fmt: skip
    env = Settings.from_env({
        "SAGAZ_STORAGE_URL": "sqlite:///a.db", "SAGAZ_POLL_SECONDS": "2", "SAGAZ_METRICS": "off", "HOME": "/",
    })  # fmt: skip

    assert django == flask == env
    assert env.poll_seconds == 2.0
    assert type(django.poll_seconds) is float
    assert django.explicit == {"storage_url", "poll_seconds", "metrics"}


def test_the_environment_is_the_processes_own_when_none_is_given(monkeypatch):
    for name in [name for name in os.environ if name.startswith("SAGAZ_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SAGAZ_CONCURRENCY", "3")

    assert Settings.from_env().concurrency == 3


@pytest.mark.parametrize("word", ["true", "TRUE", "1", "yes", "on", " On "])
def test_words_for_true_are_understood(word):
    assert Settings.from_env({"SAGAZ_TRACING": word}).tracing is True


@pytest.mark.parametrize("word", ["false", "False", "0", "no", "off"])
def test_words_for_false_are_understood(word):
    assert Settings.from_env({"SAGAZ_METRICS": word}).metrics is False


def test_arguments_win_over_application_config_and_that_over_the_environment():
    settings = Settings.load(
        arguments(storage_url="sqlite:///argument.db", poll_seconds=None),
        prefixed({"SAGAZ_STORAGE_URL": "sqlite:///config.db", "SAGAZ_POLL_SECONDS": 3}),
        environment({"SAGAZ_POLL_SECONDS": "4", "SAGAZ_CONCURRENCY": "5"}),
    )

    assert (settings.storage_url, settings.poll_seconds, settings.concurrency) == ("sqlite:///argument.db", 3.0, 5)
    assert settings.explicit == {"storage_url", "poll_seconds", "concurrency"}


def test_a_setting_that_equals_its_default_still_counts_as_given():
    assert Settings.from_mapping({"STORAGE_URL": "memory://"}).explicit == {"storage_url"}
    assert Settings(storage_url="sqlite:///x.db").explicit == {"storage_url"}
    assert dataclasses.replace(Settings(), concurrency=2).explicit == {"concurrency"}


def test_whether_a_setting_was_given_does_not_make_settings_unequal():
    assert Settings.from_mapping({"STORAGE_URL": "memory://"}) == Settings()


def test_a_settings_object_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Settings().concurrency = 3  # type: ignore[misc]


def test_everything_that_is_wrong_is_told_at_once():
    text = refusal(
        Settings.from_env,
        {
            "SAGAZ_POLL_SECOND": "1",
            "SAGAZ_CONCURRENCY": "many",
            "SAGAZ_TRACING": "maybe",
            "SAGAZ_STORAGE_URL": f"postgresql+asyncpg://me:{SECRET}@db/x",
        },
    )

    assert text.splitlines()[0] == "4 settings are wrong:"
    assert "SAGAZ_POLL_SECOND: no such setting; did you mean SAGAZ_POLL_SECONDS?" in text
    assert "SAGAZ_CONCURRENCY='many': expected a whole number of runs from 1 to 10,000" in text
    assert "SAGAZ_TRACING='maybe': expected true or false" in text
    assert "SAGAZ_STORAGE_URL=postgresql+asyncpg://…: " in text
    assert "expected postgresql:// without +asyncpg" in text


def test_a_wrong_key_is_named_as_it_was_written():
    assert 'SAGAZ["POLL_SECOND"]: no such setting; did you mean SAGAZ["POLL_SECONDS"]?' in refusal(
        Settings.from_mapping, {"POLL_SECOND": 1}
    )
    assert 'SAGAZ["storage_url"]: no such setting; did you mean SAGAZ["STORAGE_URL"]?' in refusal(
        Settings.from_mapping, {"storage_url": "memory://"}
    )
    assert 'did you mean SAGAZ["STORAGE_URL"]?' in refusal(Settings.from_mapping, {"SAGAZ_STORAGE_URL": "memory://"})
    assert "QUEUE_URLL: no such setting; there are QUEUE_STORAGE_URL, " in refusal(
        Settings.from_prefixed, {"QUEUE_URLL": "x"}, prefix="QUEUE_"
    )
    assert "storage_ulr: no such setting; did you mean storage_url?" in refusal(
        lambda: Settings.load(arguments(storage_ulr="memory://"))
    )


def test_a_wrong_value_is_named_with_its_key_and_the_range():
    assert refusal(Settings.from_mapping, {"POLL_SECONDS": 0}) == (
        'SAGAZ["POLL_SECONDS"]=0: expected a number of seconds from 0.01 to 3,600'
    )
    assert refusal(lambda: Settings(poll_seconds=-1)).startswith("poll_seconds=-1: expected a number of seconds")


@pytest.mark.parametrize("value", ["", "nan", "inf", "-1", "1e999", "5 s", None, True, float("nan"), float("inf"), []])
def test_what_is_no_number_of_seconds_is_refused(value):
    assert 'SAGAZ["LEASE_SECONDS"]=' in refusal(Settings.from_mapping, {"LEASE_SECONDS": value})


@pytest.mark.parametrize("value", ["1.5", 1.5, 1.0, "0", 0, True, None, "", "9" * 5000])
def test_what_is_no_whole_number_is_refused(value):
    assert 'SAGAZ["CONCURRENCY"]=' in refusal(Settings.from_mapping, {"CONCURRENCY": value})


@pytest.mark.parametrize("value", [None, "", 2, "maybe", [], 1.0])
def test_what_is_neither_true_nor_false_is_refused(value):
    assert 'SAGAZ["MIGRATE"]=' in refusal(Settings.from_mapping, {"MIGRATE": value})


def test_an_empty_storage_url_is_refused_instead_of_meaning_memory():
    assert "SAGAZ_STORAGE_URL=''" in refusal(Settings.from_env, {"SAGAZ_STORAGE_URL": ""})
    assert "leave it out" in refusal(Settings.from_prefixed, {"SAGAZ_STORAGE_URL": None})


def test_an_empty_broker_url_means_none():
    assert Settings.from_env({"SAGAZ_BROKER_URL": ""}).broker_url is None
    assert Settings.from_mapping({"BROKER_URL": None, "SCHEMA": None}) == Settings()


def test_a_value_that_is_no_string_is_not_shown():
    text = refusal(Settings.from_mapping, {"STORAGE_URL": {"password": SECRET}})

    assert text == 'SAGAZ["STORAGE_URL"]=<dict>: expected a string, not dict'


def test_the_value_under_an_unknown_key_is_not_shown():
    refusal(Settings.from_env, {"SAGAZ_DATABASE_PASSWORD": SECRET})


def test_settings_that_are_no_mapping_are_refused():
    assert "SAGAZ: expected a dict" in refusal(Settings.from_mapping, ["STORAGE_URL"])
    assert "a key of type int" in refusal(Settings.from_mapping, {1: 2})


def test_a_lease_that_is_hardly_renewed_is_refused():
    text = refusal(Settings.from_env, {"SAGAZ_LEASE_SECONDS": "12"})

    assert text.startswith("SAGAZ_RENEW_SECONDS=10 (the default) and SAGAZ_LEASE_SECONDS=12: ")
    assert "4 seconds or less" in text
    assert Settings.from_env({"SAGAZ_LEASE_SECONDS": "12", "SAGAZ_RENEW_SECONDS": "6"}).renew_seconds == 6


def test_the_pause_doubles_with_each_failure_up_to_the_longest_one_and_is_up_to_a_half_shorter(monkeypatch):
    settings = Settings(backoff_seconds=1, backoff_max_seconds=10)
    pauses = {}
    for name, pick in {"longest": max, "shortest": min}.items():
        monkeypatch.setattr("random.uniform", lambda *bounds, pick=pick: pick(bounds))
        pauses[name] = [settings.backoff(failures) for failures in (1, 2, 3, 4, 5, 1000)]
    assert pauses == {"longest": [1, 2, 4, 8, 10, 10], "shortest": [0.5, 1, 2, 4, 5, 5]}


def test_a_first_pause_longer_than_the_longest_is_refused():
    assert 'SAGAZ["BACKOFF_MAX_SECONDS"]=300 (the default)' in refusal(Settings.from_mapping, {"BACKOFF_SECONDS": 301})


@pytest.mark.parametrize("name", ["X Id", "X-Id:", "", "X-Id\r\nSet-Cookie", "é", "x" * 101])
def test_what_is_no_header_name_is_refused(name):
    assert "an HTTP header's name" in refusal(Settings.from_mapping, {"HEADER_NAME": name})


@pytest.mark.parametrize("name", ["1a", "a-b", "Sagaz", 'a"; drop', "pg_x", "a" * 64])
def test_what_is_no_plain_schema_name_is_refused(name):
    assert "a plain identifier" in refusal(Settings.from_mapping, {"SCHEMA": name})


def test_a_schema_may_be_named():
    assert Settings.from_mapping({"SCHEMA": "sagaz_2"}).schema == "sagaz_2"


@pytest.mark.parametrize("name", ["TYPE", "HOST", "PORT", "DB", "USER", "PASSWORD"])
def test_sagazs_own_variables_for_parts_of_an_address_are_refused_with_the_variable_to_use(name):
    assert f"SAGAZ_STORAGE_{name}: only whole addresses are read; set SAGAZ_STORAGE_URL" in refusal(
        Settings.from_env, {f"SAGAZ_STORAGE_{name}": SECRET}
    )


def test_parts_of_an_address_do_no_harm_beside_the_whole():
    settings = Settings.from_env({
        "SAGAZ_STORAGE_URL": "sqlite:///a.db", "SAGAZ_STORAGE_TYPE": "sqlite", "SAGAZ_BROKER_URL": "",
        "SAGAZ_BROKER_HOST": "x",
    })  # fmt: skip

    assert settings.explicit == {"storage_url", "broker_url"}


def test_variables_of_sagaz_of_tests_and_of_kubernetes_are_left_alone():
    Settings.from_env({
        "SAGAZ_LOG_LEVEL": "DEBUG", "SAGAZ_TRACING_ENDPOINT": "http://x", "SAGAZ_ENV": "production",
        "SAGAZ_METRICS_PORT": "9090", "SAGAZ_TEST_POSTGRES": "x", "SAGAZ_OUTBOX_BATCH_SIZE": "1",
        "SAGAZ_PORT": "tcp://10.0.0.1:80", "SAGAZ_SERVICE_HOST": "10.0.0.1", "SAGAZ_SERVICE_PORT_HTTP": "80",
        "SAGAZ_WEB_PORT_80_TCP_ADDR": "10.0.0.1", "SAGAZ_STORAGE_PORT": "tcp://10.0.0.2:5432",
    })  # fmt: skip


def test_in_a_mapping_nothing_unknown_is_left_alone():
    assert 'SAGAZ["LOG_LEVEL"]' in refusal(Settings.from_mapping, {"LOG_LEVEL": "DEBUG"})
    assert "SAGAZ_TEST_X" in refusal(Settings.from_prefixed, {"SAGAZ_TEST_X": "1"})


def test_no_password_is_in_the_repr():
    settings = Settings(
        storage_url=f"postgresql://me:{SECRET}@db/x?sslpassword={SECRET}", broker_url=f"redis://:{SECRET}@cache/0"
    )

    assert SECRET not in repr(settings)
    assert SECRET not in repr(environment({"SAGAZ_STORAGE_URL": f"postgresql://me:{SECRET}@db/x"}))
    assert "storage_url='postgresql://***@db/x?…'" in repr(settings)
    assert "broker_url='redis://***@cache/0'" in repr(settings)
    assert "explicit" not in repr(settings)


LONG = SECRET * 5


@pytest.mark.parametrize(
    "given",
    [SECRET, f"{LONG},{SECRET}", f"{LONG},", [LONG, SECRET], [LONG, 7], {LONG: 1}, 7, "\ud800" * 3],
    ids=["short", "second", "empty", "list", "number", "dict", "int", "surrogate"],
)
def test_signing_keys_are_32_bytes_long_and_no_error_shows_them(given):
    said = refusal(Settings.from_mapping, {"SIGNING_KEYS": given})
    assert said.startswith('SAGAZ["SIGNING_KEYS"]: expected keys of at least 32 bytes')
    assert "secrets.token_urlsafe(32)" in said
    with pytest.raises(SettingsError) as caught:
        Settings(signing_keys=given)
    assert SECRET not in str(caught.value)


def test_signing_keys_are_several_and_blanks_around_them_do_not_count():
    given = {"SAGAZ_SIGNING_KEYS": f" {LONG} , {LONG}2\n"}
    assert (
        Settings.from_env(given).signing_keys
        == (LONG, f"{LONG}2")
        == Settings(signing_keys=[LONG, f"{LONG}2"]).signing_keys
    )
    assert Settings.from_env({"SAGAZ_SIGNING_KEYS": ""}).signing_keys == ()
