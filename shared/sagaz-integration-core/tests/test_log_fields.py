"""What every log record carries, and that no code that logs notices."""

from __future__ import annotations

import copy
import json
import logging
import logging.config
import logging.handlers
import pickle
import queue
import subprocess
import sys
import threading

import pytest

from sagaz_integration_core.context import correlation as context
from sagaz_integration_core.context import log_fields as logs
from sagaz_integration_core.context.log_fields import FIELDS

RUN = {"saga_id": "s-1", "saga_name": "OrderSaga", "step": "pay", "attempt": 2}


@pytest.fixture(autouse=True)
def untouched():
    before = logging.getLogRecordFactory()
    yield
    logging.setLogRecordFactory(before)


@pytest.fixture
def installed():
    logs.install()
    yield
    logs.uninstall()


@pytest.fixture
def in_run():
    token = logs.log_fields.set(RUN)
    with context.bound("c-1"):
        yield
    logs.log_fields.reset(token)


class Kept(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def kept():
    handler = Kept()
    logger = logging.getLogger("shop")
    logger.addHandler(handler)
    yield handler
    logger.removeHandler(handler)


def logged(kept: Kept, **extra) -> logging.LogRecord:
    logging.getLogger("shop").warning("sold %s", "tea", extra=extra or None)
    return kept.records[-1]


def fields_of(record: logging.LogRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in FIELDS}


def test_a_record_says_which_request_and_which_step_it_comes_from(installed, in_run, kept):
    assert fields_of(logged(kept)) == {"correlation_id": "c-1", **RUN}


def test_outside_of_requests_and_runs_the_fields_are_there_and_empty(installed, kept):
    assert fields_of(logged(kept)) == dict.fromkeys(FIELDS)


@pytest.mark.parametrize(
    ("style", "template"),
    [
        ("%", "%(correlation_id)s %(saga_id)s %(message)s"),
        ("{", "{correlation_id} {saga_id} {message}"),
        ("$", "$correlation_id $saga_id $message"),
    ],
)
def test_formats_may_name_the_fields_in_and_out_of_a_request(installed, kept, style, template):
    formatter = logging.Formatter(template, style=style)

    assert formatter.format(logged(kept)) == "None None sold tea"
    with context.bound("c-1"):
        assert formatter.format(logged(kept)) == "c-1 None sold tea"


def test_formats_with_defaults_work(installed, in_run, kept):
    formatter = logging.Formatter("%(step)s %(else)s", defaults={"else": "-", "step": "?"})

    assert formatter.format(logged(kept)) == "pay -"


def test_the_callers_own_extra_wins_and_raises_nothing(installed, in_run, kept):
    record = logged(kept, correlation_id="theirs", step=3, colour="red")

    assert fields_of(record) == {"correlation_id": "theirs", **RUN, "step": 3}
    assert record.colour == "red"


@pytest.mark.parametrize("name", ["message", "args", "levelname"])
def test_an_extra_that_overwrites_logging_itself_is_still_refused(installed, kept, name):
    with pytest.raises(KeyError, match="Attempt to overwrite"):
        logged(kept, **{name: "x"})


def test_a_logger_class_of_the_application_that_overrides_make_record_is_served_too(installed, in_run):
    class Logger(logging.Logger):
        def makeRecord(self, *args, **kwargs):
            record = super().makeRecord(*args, **kwargs)
            assert "step" not in record.__dict__ or record.step == 3
            return record

    logger, kept = Logger("own"), Kept()
    logger.addHandler(kept)
    logger.warning("x", extra={"step": 3})

    assert kept.records[0].step == 3


def test_formatters_that_ask_the_record_or_iterate_over_it_find_the_fields(installed, in_run, kept):
    record = logged(kept)

    assert all(name in record.__dict__ for name in FIELDS)
    assert "no such" not in record.__dict__
    assert dict(record.__dict__).items() >= RUN.items()
    assert {**vars(record)}["correlation_id"] == "c-1"
    assert isinstance(record.__dict__, dict)


def test_a_record_keeps_the_fields_when_it_is_copied_and_pickled(installed, in_run, kept):
    record = logged(kept)

    for twin in (copy.copy(record), copy.deepcopy(record), pickle.loads(pickle.dumps(record))):
        assert fields_of(twin) == fields_of(record)
        assert twin.getMessage() == "sold tea"
        assert type(twin.__dict__) is dict
    copy.copy(record).step = "other"
    assert record.step == "pay"


def test_a_pickled_record_can_be_read_where_this_package_is_not_installed(installed, in_run, kept):
    code = (
        "import pickle, sys\n"
        "record = pickle.load(sys.stdin.buffer)\n"
        "print(record.saga_id, 'sagaz_integration_core' in sys.modules)"
    )
    pickled = pickle.dumps(logged(kept))

    done = subprocess.run([sys.executable, "-c", code], input=pickled, capture_output=True, check=True)

    assert done.stdout.split() == [b"s-1", b"False"]


def test_a_queue_listener_in_another_thread_sees_the_fields_of_the_thread_that_logged(installed, in_run):
    kept, waiting = Kept(), queue.SimpleQueue()
    handler = logging.handlers.QueueHandler(waiting)
    listener = logging.handlers.QueueListener(waiting, kept)
    logger = logging.Logger("queued")
    logger.addHandler(handler)
    listener.start()
    logger.warning("x", extra={"step": "theirs"})
    listener.stop()

    assert fields_of(kept.records[0]) == {"correlation_id": "c-1", **RUN, "step": "theirs"}


def test_a_socket_handler_sends_the_fields(installed, in_run, kept):
    sent = logging.handlers.SocketHandler("localhost", 1).makePickle(logged(kept))

    received = logging.makeLogRecord(pickle.loads(sent[4:]))

    assert fields_of(received) == {"correlation_id": "c-1", **RUN}


def test_what_an_earlier_factory_adds_is_kept(kept):
    plain = logging.getLogRecordFactory()

    def earlier(*args, **kwargs):
        record = plain(*args, **kwargs)
        record.host, record.correlation_id = "web-1", "earlier"
        return record

    logging.setLogRecordFactory(earlier)
    logs.install()
    record = logged(kept)
    with context.bound("c-1"):
        assert logged(kept).correlation_id == "c-1"
    logs.uninstall()

    assert (record.host, record.correlation_id) == ("web-1", "earlier")
    assert logging.getLogRecordFactory() is earlier


def test_several_runtimes_share_one_installation(kept):
    before = logging.getLogRecordFactory()
    logs.install()
    ours = logging.getLogRecordFactory()
    logs.install()
    assert logging.getLogRecordFactory() is ours

    logs.uninstall()
    assert hasattr(logged(kept), "saga_id")
    logs.uninstall()
    assert logging.getLogRecordFactory() is before
    assert not hasattr(logged(kept), "saga_id")


def test_one_uninstall_too_many_changes_nothing(kept):
    before = logging.getLogRecordFactory()
    logs.uninstall()
    assert logging.getLogRecordFactory() is before

    logs.install()
    assert hasattr(logged(kept), "saga_id")
    logs.uninstall()


def test_a_factory_that_was_set_over_ours_stays(kept):
    logs.install()
    ours = logging.getLogRecordFactory()

    def later(*args, **kwargs):
        record = ours(*args, **kwargs)
        record.host = "web-1"
        return record

    logging.setLogRecordFactory(later)
    logs.uninstall()

    record = logged(kept)
    assert logging.getLogRecordFactory() is later
    assert record.host == "web-1"
    assert not hasattr(record, "saga_id")


def test_installing_from_many_threads_at_once_leaves_nothing_behind():
    before = logging.getLogRecordFactory()
    barrier = threading.Barrier(8)

    def use() -> None:
        barrier.wait()
        for _ in range(200):
            logs.install()
            logs.uninstall()

    threads = [threading.Thread(target=use) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert logging.getLogRecordFactory() is before


def test_a_filter_does_the_same_for_one_handler(in_run, kept, capsys):
    logging.config.dictConfig({
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"sagaz": {"()": "sagaz_integration_core.context.log_fields.SagazLogFilter"}},
        "formatters": {"f": {"format": "%(correlation_id)s %(step)s %(attempt)s %(message)s"}},
        "handlers": {"h": {"class": "logging.StreamHandler", "filters": ["sagaz"], "formatter": "f",
                           "stream": "ext://sys.stdout"}},
        "loggers": {"filtered": {"handlers": ["h"], "propagate": False}},
    })  # fmt: skip
    logger = logging.getLogger("filtered")

    logger.warning("one")
    logger.warning("two", extra={"step": "theirs"})

    assert capsys.readouterr().out.splitlines() == ["c-1 pay 2 one", "c-1 theirs 2 two"]


def test_a_filter_outside_of_a_request_fills_the_fields_with_nothing(kept):
    record = logged(kept)

    assert logs.SagazLogFilter().filter(record) is True
    assert fields_of(record) == dict.fromkeys(FIELDS)


def test_a_filter_beside_the_installation_changes_nothing(installed, in_run, kept):
    record = logged(kept, step="theirs")
    logs.SagazLogFilter().filter(record)

    assert fields_of(record) == {"correlation_id": "c-1", **RUN, "step": "theirs"}


# What others make of the records.


@pytest.fixture
def in_a_run():
    logs.install()
    token = logs.log_fields.set({"saga_id": "s1", "saga_name": "order", "step": "charge", "attempt": 2})
    yield
    logs.log_fields.reset(token)
    logs.uninstall()


def _printed(formatter):
    record = logging.getLogger("shop").makeRecord("shop", logging.INFO, __file__, 1, "charged %s", ("ann",), None)
    return json.loads(formatter.format(record))


def test_a_json_formatter_prints_the_fields_of_the_run(in_a_run):
    from pythonjsonlogger.json import JsonFormatter

    assert _printed(JsonFormatter()) == {
        "message": "charged ann",
        "correlation_id": None,
        "saga_id": "s1",
        "saga_name": "order",
        "step": "charge",
        "attempt": 2,
    }


def test_structlog_prints_the_fields_of_the_run(in_a_run):
    import structlog

    formatter = structlog.stdlib.ProcessorFormatter(
        processors=[
            structlog.stdlib.ExtraAdder(),
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ]
    )
    printed = _printed(formatter)
    assert (printed["event"], printed["saga_id"], printed["step"], printed["attempt"]) == (
        "charged ann", "s1", "charge", 2
    )  # fmt: skip
