"""A mirror shows what is bound, and puts back what it showed before; the engine's own is tested there."""

import pytest

from sagaz_integration_core.context import correlation


class Shown:
    def __init__(self):
        self.stack = []

    def push(self, correlation_id, values):
        self.stack.append((correlation_id, dict(values)))
        return len(self.stack)

    def pop(self, token):
        assert token == len(self.stack)
        self.stack.pop()


@pytest.fixture
def shown(monkeypatch):
    monkeypatch.setattr(correlation, "_mirror", None)
    mirror = Shown()
    correlation.mirror_to(mirror)
    return mirror


def test_a_mirror_shows_what_is_bound_and_what_was_bound_around(shown):
    with correlation.bound("one", values={"tenant": "t"}):
        with correlation.bound("two", values={"user": 1}):
            assert shown.stack == [("one", {"tenant": "t"}), ("two", {"tenant": "t", "user": 1})]
        assert shown.stack == [("one", {"tenant": "t"})]
    assert shown.stack == []


def test_without_a_mirror_the_id_is_bound_all_the_same(monkeypatch):
    monkeypatch.setattr(correlation, "_mirror", None)
    with correlation.bound("one"):
        assert correlation.correlation_id() == "one"
    assert correlation.correlation_id() is None
