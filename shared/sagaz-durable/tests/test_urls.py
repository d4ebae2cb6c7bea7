"""Which addresses are understood, and what a user is told about one that is not."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sagaz_durable._upstream.brokers import make_broker
from sagaz_durable.redaction import redact
from sagaz_durable.settings.settings import Settings
from sagaz_durable.settings.urls import parse_broker_url, parse_storage_url
from sagaz_durable.stores.postgresql.database.address import read_address
from sagaz_integration_core.errors import SettingsError

quickly = settings(deadline=None, database=None, suppress_health_check=[HealthCheck.too_slow])


def refusal(parse, url) -> str:
    with pytest.raises(SettingsError) as caught:
        parse(url)
    return str(caught.value)


def test_memory_is_one_word():
    assert parse_storage_url("memory://").kind == "memory"
    assert "expected memory://, sqlite:///" in refusal(parse_storage_url, "memory://x")


def test_a_relative_sqlite_file_belongs_to_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    assert parse_storage_url("sqlite:///data/my runs.db").path == tmp_path / "data" / "my runs.db"


def test_an_absolute_sqlite_file_has_four_slashes():
    url = parse_storage_url("sqlite:////var/lib/sagaz.db")

    assert (url.kind, url.path, url.dsn) == ("sqlite", Path("/var/lib/sagaz.db"), None)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://localhost/db",
        "postgres://u:p@h:5432/db",
        "postgresql://",
        "postgresql:///db?host=/tmp",
        "postgresql:///db?host=@abstract",
        "postgresql://u:p%40ss%2Fw%3Ard@h/db",
        "postgresql://u:p@[::1]:5432/db",
        "postgresql://[2001:db8::1]/db",
        "postgresql://u@%2Fvar%2Frun%2Fpostgresql/db",
        "postgresql://u:p@one:5432,two:5433/db?target_session_attrs=read-write",
        "postgresql://u:p@h/db?options=-c%20statement_timeout%3D5s&sslmode=require",
    ],
)
def test_postgresql_addresses_are_left_as_they_are_for_libpq(url):
    parsed = parse_storage_url(url)

    assert (parsed.kind, parsed.dsn, parsed.path) == ("postgresql", url, None)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("", "expected memory://"),
        ("memory", "expected memory://"),
        ("sqlite://", "use memory://"),
        ("sqlite:///", "use memory://"),
        ("sqlite:///:memory:", "use memory://"),
        ("sqlite://app.db", "a relative file has three: sqlite:///"),
        ("sqlite:///app.db?mode=ro", "options and NUL are not taken"),
        ("sqlite:///data/", "it names a directory"),
        ("sqlite:app.db", "did you mean sqlite://?"),
        ("sqlite+aiosqlite:///app.db", "expected sqlite:// without +aiosqlite"),
        ("postgresql+psycopg://h/db", "expected postgresql:// without +psycopg"),
        ("postgresql+asyncpg://h/db", "expected postgresql:// without +asyncpg"),
        ("postgressql://h/db", "did you mean postgresql://?"),
        ("POSTGRESQL://h/db", "did you mean postgresql://?"),
        ("redis://h", "redis can carry events (as the broker URL) but not keep runs"),
        ("mysql://h/db", "through Django's own DATABASES"),
        ("mysql+pymysql://h/db", "through Django's own DATABASES"),
        ("app.db", "a file is named sqlite:///"),
        ("/var/app.db", "an absolute path with four slashes"),
        ("host=h password=p", "expected memory://"),
        ("postgresql://u:p@ss@h/db", "percent-encode"),
        ("postgresql://u:p/ss@h/db", "percent-encode"),
        ("postgresql://u:12/34@h/db", "percent-encode"),
        ("postgresql://u:p?ss@h/db", "percent-encode"),
        ("postgresql://u:100%@h/db", "percent-encode"),
        ("postgresql://u:@?x@h/db", "percent-encode"),
        ("postgresql://u:/=@h/db", "percent-encode"),
        ("postgresql://u:?/%]=@h/db", "percent-encode"),
        ("postgresql://u:a%00b@h/db", "percent-encode"),
        ("postgresql://u:p w@h/db", "percent-encode"),
        ("postgresql://h:port/db", "a numeric port"),
        ("postgresql://::1/db", "in brackets"),
        ("postgresql://h:99999/db", "a numeric port"),
        ("postgresql://me%3Ahunter2%40h/db", "a numeric port"),
    ],
)
def test_a_common_mistake_is_answered_with_the_nearest_valid_choice(url, advice):
    text = refusal(parse_storage_url, url)

    assert advice in text
    scheme = url.partition("://")[0] if re.match(r"[A-Za-z+]+://", url) else None
    assert (f"The storage URL {scheme}://… is wrong: " if scheme else "The storage URL is wrong: ") in text


@pytest.mark.parametrize(
    ("url", "kind", "client_url"),
    [
        ("memory://", "memory", "memory://"),
        ("redis://:p@h:6379/0", "redis", "redis://:p@h:6379/0"),
        ("rediss://h", "redis", "rediss://h"),
        ("amqp://u:p@h:5672/%2F", "rabbitmq", "amqp://u:p@h:5672/%2F"),
        ("amqps://h", "rabbitmq", "amqps://h"),
        ("rabbitmq://h/v", "rabbitmq", "amqp://h/v"),
        ("kafka://a:9092,b:9092", "kafka", "kafka://a:9092,b:9092"),
    ],
)
def test_brokers(url, kind, client_url):
    parsed = parse_broker_url(url)

    assert (parsed.kind, parsed.url) == (kind, client_url)


@pytest.mark.parametrize(
    ("url", "advice"),
    [
        ("kafka://", "it names no host"),
        ("pyamqp://h", "did you mean amqp://?"),
        ("redis+socket:///tmp/r.sock", "Unix socket"),
        ("memory://x", "nothing after it"),
        ("nats://h", "expected redis://"),
        ("localhost:6379", "expected redis://"),
        ("redis://h:x", "a numeric port"),
        ("kafka://me:hunter2@h:9092", "sasl_username"),
        ("kafka://h:9092/topic", "a list of hosts"),
    ],
)
def test_a_wrong_broker_is_answered_with_the_nearest_valid_choice(url, advice):
    assert advice in refusal(parse_broker_url, url)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:hunter2@h:5432/db", "postgresql://***@h:5432/db"),
        ("postgresql://hunter2@h/db", "postgresql://***@h/db"),
        ("postgresql://u:p@one:5432,[::1]:5433/db", "postgresql://***@one:5432,[::1]:5433/db"),
        ("redis://:hunter2@h/0", "redis://***@h/0"),
        ("postgresql://h/db?user=a&password=hunter2&sslmode=require", "postgresql://h/db?…&…&sslmode=require"),
        ("postgresql://h/db?p%61ssword=hunter2", "postgresql://h/db?…"),
        ("postgresql://h/db?hunter2", "postgresql://h/db?…"),
        ("postgresql://me%3Ahunter2%40h/db", "postgresql://…/db"),
        ("postgresql://h/db;password=hunter2", "postgresql://h/…"),
        ("postgresql://me:hun/ter2@h/db", "postgresql://…"),
        ("postgresql://me:hun#ter2@h/db", "postgresql://…"),
        ("me:hunter2@h", "…"),
        ("host=h password=hunter2", "…"),
        ("postgresql:///db?host=/tmp", "postgresql:///db?host=/tmp"),
        ("sqlite:////home/me@work/a.db", "sqlite:////home/me@work/a.db"),
        ("memory://", "memory://"),
        (None, "<NoneType>"),
        (b"x", "<bytes>"),
    ],
)
def test_of_an_address_only_what_is_known_to_be_harmless_is_shown(url, shown):
    assert redact(url) == shown


def test_no_password_is_in_the_repr_of_an_address():
    assert repr(parse_storage_url("postgresql://me:hunter2@h/db")) == (
        "StorageURL(kind='postgresql', path=None, dsn='postgresql://***@h/db')"
    )
    assert "hunter2" not in repr(parse_broker_url("redis://:hunter2@h"))


@pytest.mark.parametrize(
    "url", ["redis://h/abc", "redis://h?nothing=1", "redis://h?db=hunter2", "rediss://h?ssl_cert_reqs=hunter2"]
)
def test_options_that_a_brokers_client_refuses_are_wrong_settings_and_no_outage(url):
    text = refusal(make_broker, url)
    assert "is refused by its client" in text
    assert "hunter2" not in text


SECRET = "Zq7Kx9Vw"
SCHEMES = [
    "postgresql",
    "postgres",
    "redis",
    "amqp",
    "kafka",
    "sqlite",
    "postgresql+asyncpg",
    "POSTGRESQL",
    "mysql",
    "x",
]
FORMS = [
    "{s}://u:{p}@h/db", "{s}://u:{p}@h:port/db", "{s}://u:{p}", "{s}://:{p}", "{s}://:{p}@", "{s}://{p}@h/db",
    "{s}://u:{p}%40h/db", "{s}://u%3A{p}%40h/db", "{s}://u%3A{p}@h", "{s}://u:{p}@h@i/db", "{s}://u:{p}/x@h/db",
    "{s}://u:x/{p}@h/db", "{s}://u:x?{p}@h/db", "{s}://u:x#{p}@h/db", "{s}://u:{p}#@h/db", "{s}://u:{p} @h/db",
    "{s}://u: {p}@h/db", "{s}://u:%{p}@h/db", "{s}://u:{p}%@h/db", "{s}://u:{p}%00@h/db", "{s}://[u:{p}@h/db",
    "{s}://u:{p}]@h/db", "{s}:/u:{p}@h/db", "{s}:u:{p}@h/db", "{s}//u:{p}@h/db", "u:{p}@h/db", "{p}", "//u:{p}@h/db",
    "{s}://h/db?password={p}", "{s}://h/db?p%61ssword={p}", "{s}://h/db?sslpassword={p}&sslmode=x", "{s}://h/?{p}",
    "{s}://h/?{p}=1", "{s}://h?connect_timeout={p}", "{s}://h/db?sslmode={p}", "{s}://h/db?port={p}", "{s}://h:{p}/db",
    "{s}://h:1{p}/db", "{s}://u:{p}@h:99999/db", "{s}://u:{p}@h,i:x/db", "host=h password={p}", "password={p}",
    "{s}://u:{p}\n@h/db", "\n{s}://u:{p}@h/db", "{s}:// u:{p}@h/db", "{s}://u:{p}@h/db?pgbouncer={p}", "{p}://h/db@",
]  # fmt: skip


@pytest.mark.parametrize("scheme", SCHEMES)
@pytest.mark.parametrize("written", [SECRET, f"%40{SECRET}", f"{SECRET}:x", f"{SECRET}@a"])
def test_no_malformed_address_discloses_a_piece_of_its_password(scheme, written):
    for form in FORMS:
        url = form.format(s=scheme, p=written)
        others = () if url == written else ("SAGAZ_SCHEMA", "SAGAZ_HEADER_NAME")
        for name in ("SAGAZ_STORAGE_URL", "SAGAZ_BROKER_URL", *others):
            told = repr_or_refusal({name: url})
            # A word before :// may be a scheme, and it is what a refusal shows.
            assert SECRET not in told.replace(f"{SECRET}://", ""), (url, told)


def repr_or_refusal(environ):
    try:
        settings = Settings.from_env(environ)
        if settings.storage_url.startswith("postgres"):
            return repr(settings) + repr(read_address(settings.storage_url))
        if settings.broker_url and not settings.broker_url.startswith("kafka"):
            make_broker(settings.broker_url)
        return "" if settings.storage_url.startswith("sqlite:///") else repr(settings)
    except SettingsError as error:
        return f"{error} {error.__cause__!r}"


@quickly
@given(st.text())
def test_hiding_passwords_never_fails(text):
    redact(text)


@quickly
@given(st.text(st.characters(blacklist_categories=["Cs", "Cc"])))
def test_whatever_a_password_is_made_of_no_message_has_it(password):
    secret = f"q7{password}7q"
    url = f"postgresql://me:{secret}@h/db"

    assert secret not in redact(url)
    assert secret not in refusal(parse_storage_url, f"postgresql://me:{secret}@h:port/db")
    assert secret not in refusal(parse_storage_url, f"postgresql+asyncpg://me:{secret}@h/db")
    assert secret not in refusal(parse_broker_url, url)
