"""One row that cannot be renewed costs no other run its lease, and no error ends the thread that renews."""

from __future__ import annotations

import logging

import pytest

from sagaz_durable.leases.renewal import quietly, renew_all
from sagaz_integration_core.errors import StoreUnavailable


class Renewing:
    def __init__(self, refused=(), error=None) -> None:
        self.asked, self._refused, self._error = [], set(refused), error or RuntimeError("refused")

    def __call__(self, leases):
        self.asked.append([lease.saga_id for lease in leases])
        if self._refused & {lease.saga_id for lease in leases}:
            raise self._error


def test_all_are_renewed_in_one_statement(make):
    renew = Renewing()
    renew_all([make("a"), make("b")], renew)
    assert renew.asked == [["a", "b"]]


def test_when_one_row_is_refused_the_others_are_renewed_one_by_one(make, caplog):
    renew = Renewing(["b"])
    renew_all([make("a"), make("b"), make("c")], renew)
    assert renew.asked == [["a", "b", "c"], ["a"], ["b"], ["c"]]
    assert "The lease of run b could not be renewed" in caplog.text
    assert "of run a" not in caplog.text


def test_one_that_is_refused_alone_is_not_tried_again(make):
    renew = Renewing(["a"])
    with pytest.raises(RuntimeError, match="refused"):
        renew_all([make("a")], renew)
    assert renew.asked == [["a"]]


def test_a_store_that_is_unreachable_is_asked_once_for_all(make):
    renew = Renewing(["a"], StoreUnavailable("away"))
    with pytest.raises(StoreUnavailable):
        renew_all([make("a"), make("b")], renew)
    assert renew.asked == [["a", "b"]]


@pytest.mark.parametrize(
    ("error", "level"), [(StoreUnavailable("away"), logging.WARNING), (RuntimeError("ours"), logging.ERROR)]
)
def test_what_the_store_raises_is_logged_and_goes_no_further(caplog, error, level):
    def work():
        raise error

    quietly("It was not done", work)
    [record] = caplog.records
    assert (record.levelno, record.exc_info is not None) == (level, level == logging.ERROR)
    assert "It was not done, trying again" in record.getMessage()
