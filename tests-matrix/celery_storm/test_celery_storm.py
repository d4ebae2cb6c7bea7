"""Kill storms over Celery: prefork workers that die by SIGKILL, on a Redis that drops and repeats messages."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from storm.fleet import Framework
from storm.plan import Plan
from storm.report import judge
from storm.storm import rage
from support import pg

if TYPE_CHECKING:
    from celery_storm.broker import Broker

pytestmark = pytest.mark.storm

PLAN = Plan(workers=2, webs=1, sagas=250, seconds=20, kill_every=(0.6, 1.2)).from_env()

CELERY = [sys.executable, "-m", "celery", "-A"]
WORK = [
    "worker",
    "--pool",
    "prefork",
    "--concurrency",
    "4",
    "--loglevel",
    "INFO",
    "--without-gossip",
    "--without-mingle",
]


@pytest.fixture
def database() -> Iterator[str]:
    """A PostgreSQL of the test's own."""
    with pg.own_server() as server:
        yield server.url


def serve(application: str) -> list[str]:
    options = ["--preload", "--workers", "2", "--threads", "8", application]
    return [sys.executable, "-m", "gunicorn", *options]


def django(broker: Broker, folder: Path) -> Framework:
    env = {"DJANGO_SETTINGS_MODULE": "celery_storm.django_shop.settings"}
    manage = [sys.executable, "-m", "django"]
    web = serve("storm.django_site.wsgi")
    return framework(broker, folder, web, "celery_storm.django_shop", [*manage, "migrate"], env)


def flask(broker: Broker, folder: Path) -> Framework:
    migrate = [sys.executable, "-m", "flask", "--app", "celery_storm.flask_shop", "sagaz", "migrate"]
    web = serve("celery_storm.flask_shop:app")
    return framework(broker, folder, web, "celery_storm.flask_shop:celery", migrate, {})


def framework(
    broker: Broker, folder: Path, web: list[str], celery: str, migrate: list[str], env: dict[str, str]
) -> Framework:
    beat = [*CELERY, celery, "beat", "--schedule", str(folder / "beat")]
    return Framework(
        lambda port: [*web, "--bind", f"127.0.0.1:{port}"],
        [*CELERY, celery, *WORK],
        ("Listening at", "ready."),
        migrate,
        env={**env, "SAGAZ_DISPATCH": "celery", "CELERY_BROKER_URL": broker.url, "C_FORCE_ROOT": "1"},
        forks=True,
        work_forks=True,
        others=[beat],
    )


@pytest.mark.timeout(PLAN.limit)
@pytest.mark.parametrize("make", [django, flask])
async def test_every_run_ends_and_nothing_is_done_twice(make, broker, database, tmp_path) -> None:
    from celery_storm.broker import Mischief

    mischief = Mischief(broker, PLAN.seed, tmp_path)
    evidence = await rage(PLAN, make(broker, tmp_path), tmp_path, database, mischief=mischief)
    evidence.broker_outages = mischief.outages
    judge(evidence, tmp_path)
    assert {"repeated", "dropped sagaz.run", "flushed", "crashed"} <= mischief.done.keys()
