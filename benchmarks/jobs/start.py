"""What a start costs inside of the caller's own transaction."""

from __future__ import annotations

from benchmarks.harness.model import POSTGRES, Contender, Job, Metric, Target

__all__ = ["DJANGO_POSTGRES", "DJANGO_SQLITE", "SQLALCHEMY_POSTGRES", "SQLALCHEMY_SQLITE"]

_DJANGO, _SQLALCHEMY = "start.django", "start.sqlalchemy"
_WHAT = (
    "One transaction: {insert}, and the start of a saga with a small context. Committed over and over, by one thread "
    "and by several at once. The floor is the same row, written by hand with one INSERT (and its NOTIFY), without "
    "any of the checks, and without a key that could be there already."
)
_HAND_LACKS = "check the context, look for the same key, know which database it is in"


def _metric(at_once: int) -> Metric:
    return Metric(f"{at_once} at once", "starts/s", "more")


def _at_least(job: str, text: str, ours: str, hand: str, *, at_once: int = 1) -> Target:
    metric = f"{at_once} at once"
    return Target(f"{job}.{at_once}", text, (ours, metric), (hand, metric), at_least=0.95)


DJANGO_POSTGRES = Job(
    name="start-django",
    number="3a",
    title="Start inside atomic() on PostgreSQL",
    what=_WHAT.format(insert="`Order.objects.create` inside `transaction.atomic()`"),
    contenders=(
        Contender("INSERT by hand", _DJANGO, _HAND_LACKS, POSTGRES, {"way": "hand"}),
        Contender("django-sagaz", _DJANGO, needs=POSTGRES, options={"way": "ours"}),
        Contender("INSERT by hand, no wake-up", _DJANGO, _HAND_LACKS, POSTGRES, {"way": "hand", "notify": False}),
        Contender("django-sagaz, NOTIFY off", _DJANGO, "wake the worker", POSTGRES, {"way": "ours", "notify": False}),
        Contender("ORM create()", _DJANGO, "wake the worker; and as by hand", POSTGRES, {"way": "orm"}),
        Contender("procrastinate", _DJANGO, "journal steps, compensate", POSTGRES, {"way": "procrastinate"}),
        Contender(
            "django-tasks", _DJANGO, "journal steps, compensate, wake the worker", POSTGRES, {"way": "django-tasks"}
        ),
        Contender("the order only", _DJANGO, "start anything", POSTGRES, {"way": "nothing"}),
    ),
    metrics=(_metric(1), _metric(4), _metric(16)),
    targets=(
        _at_least("start-django", "django-sagaz to the INSERT by hand", "django-sagaz", "INSERT by hand"),
    ),
    size=(200, 60),
    rounds=(15, 3),
    baseline="INSERT by hand",
)  # fmt: skip

DJANGO_SQLITE = Job(
    name="start-django-sqlite",
    number="3b",
    title="Start inside atomic() on SQLite",
    what=_WHAT.format(insert="`Order.objects.create` inside `transaction.atomic()`"),
    contenders=(
        Contender("INSERT by hand", _DJANGO, _HAND_LACKS, options={"way": "hand"}),
        Contender("django-sagaz", _DJANGO, options={"way": "ours"}),
        Contender("ORM create()", _DJANGO, "as by hand", options={"way": "orm"}),
        Contender("django-tasks", _DJANGO, "journal steps, compensate", options={"way": "django-tasks"}),
        Contender("the order only", _DJANGO, "start anything", options={"way": "nothing"}),
    ),
    metrics=(_metric(1),),
    targets=(
        _at_least("start-django-sqlite", "django-sagaz to the INSERT by hand", "django-sagaz", "INSERT by hand"),
    ),
    size=(300, 60),
    rounds=(15, 3),
    baseline="INSERT by hand",
)  # fmt: skip

SQLALCHEMY_POSTGRES = Job(
    name="start-sqlalchemy",
    number="3c",
    title="Start in a SQLAlchemy session on PostgreSQL",
    what=_WHAT.format(insert="`session.add` and `session.flush` inside `session.begin()`"),
    contenders=(
        Contender("INSERT by hand", _SQLALCHEMY, _HAND_LACKS, POSTGRES, {"way": "hand"}),
        Contender("flask-sagaz", _SQLALCHEMY, needs=POSTGRES, options={"way": "ours"}),
        Contender("DBOS", _SQLALCHEMY, "compensate", POSTGRES, {"way": "DBOS"}),
        Contender("the order only", _SQLALCHEMY, "start anything", POSTGRES, {"way": "nothing"}),
    ),
    metrics=(_metric(1), _metric(4), _metric(16)),
    targets=(_at_least("start-sqlalchemy", "flask-sagaz to the INSERT by hand", "flask-sagaz", "INSERT by hand"),),
    size=(200, 60),
    rounds=(15, 3),
    baseline="INSERT by hand",
)

SQLALCHEMY_SQLITE = Job(
    name="start-sqlalchemy-sqlite",
    number="3d",
    title="Start in a SQLAlchemy session on SQLite",
    what=_WHAT.format(insert="`session.add` and `session.flush` inside `session.begin()`"),
    contenders=(
        Contender("INSERT by hand", _SQLALCHEMY, _HAND_LACKS, options={"way": "hand"}),
        Contender("flask-sagaz", _SQLALCHEMY, options={"way": "ours"}),
        Contender("the order only", _SQLALCHEMY, "start anything", options={"way": "nothing"}),
    ),
    metrics=(_metric(1),),
    targets=(
        _at_least("start-sqlalchemy-sqlite", "flask-sagaz to the INSERT by hand", "flask-sagaz", "INSERT by hand"),
    ),
    size=(300, 60),
    rounds=(15, 3),
    baseline="INSERT by hand",
)
