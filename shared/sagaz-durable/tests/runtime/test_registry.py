"""Mistakes in a saga class that sagaz passes over in silence are found when it is registered."""

from __future__ import annotations

import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sagaz import CompensationType, Saga, action, compensate, forward_recovery
from sagaz.core.triggers import trigger

from sagaz_durable._upstream import definitions
from sagaz_durable.engine.registry import SagaRegistry
from sagaz_durable.intake.served import check_served
from sagaz_durable.runtime.configuration import Configuration
from sagaz_durable.settings.settings import Settings
from sagaz_durable.settings.wording import Wording
from sagaz_integration_core.errors import SagaDefinitionError, SagaNotRegistered


def saga(**methods):
    return type("Shop", (Saga,), methods)


def work():
    async def work(self, ctx):
        return None

    return work


async def needs_two(self, ctx, results):
    return None


async def yields(self, ctx):
    yield 1


def handler():
    async def handled(self, ctx, error):
        return None

    return handled


async def needs_three(self, ctx, error, more):
    return None


def behind_pivot(**methods):
    return saga(pay=action("pay", pivot=True)(work()), ship=action("ship", depends_on=["pay"])(work()), **methods)


@pytest.mark.parametrize(
    ("saga_class", "message"),
    [
        (
            saga(a=action("charge")(work()), b=compensate("chrage")(work())),
            "compensates 'chrage'.*Did you mean 'charge'",
        ),
        (saga(a=action("a", depends_on=["reserv"])(work()), b=action("reserve")(work())), "Did you mean 'reserve'"),
        (saga(a=action("same")(work()), b=action("same")(work())), "both step 'same'"),
        (saga(a=action("a")(work()), b=compensate("a")(work()), c=compensate("a")(work())), "both compensate 'a'"),
        (saga(a=action("x", depends_on=["y"])(work()), b=action("y", depends_on=["x"])(work())), "in a circle"),
        (saga(_a=action("a")(work())), "ignores private methods"),
        (saga(a=action("a")(work()), b=compensate("a")(needs_two)), "requires the arguments ctx, results"),
        (saga(a=action("a")(yields)), "yields; a step returns a dict or None"),
        (saga(a=action("")(work())), "must be 1 to 200 printable characters"),
        (saga(saga_name="x" * 201, a=action("a")(work())), "saga_name is .* it must be 1 to 200"),
        (
            saga(a=action("a")(work()), r=forward_recovery("a")(handler())),
            "Shop.r would never be called: .* 'a' depends on none. Mark the step",
        ),
        (saga(a=action("a", pivot=True)(work()), r=forward_recovery("a")(handler())), "Shop.r would never be called"),
        (behind_pivot(r=forward_recovery("shop")(handler())), "Shop.r recovers 'shop', .*Did you mean 'ship'"),
        (
            behind_pivot(r=forward_recovery("ship")(handler()), s=forward_recovery("ship")(handler())),
            "Shop.r and Shop.s both recover 'ship'",
        ),
        (behind_pivot(_r=forward_recovery("ship")(handler())), "ignores private methods"),
        (
            behind_pivot(r=forward_recovery("ship")(needs_three)),
            "requires the arguments ctx, error, more; it is called with the context and the error only",
        ),
        (
            behind_pivot(r=forward_recovery("ship", max_retries=-1)(handler())),
            "max_retries=-1; expected a whole number",
        ),
        (behind_pivot(r=forward_recovery("ship", max_retries=True)(handler())), "max_retries=True; expected"),
        (
            saga(
                a=action("x" * 151)(work()),
                u=compensate("x" * 151, compensation_type=CompensationType.MANUAL)(work()),
            ),
            "may ask a person about step 'x+'…, whose name has 151 characters: at most 150",
        ),
    ],
    ids=[
        "typo",
        "dependency",
        "twice",
        "two undo",
        "circle",
        "private",
        "arity",
        "generator",
        "empty",
        "long",
        "recovery without a pivot",
        "recovery of the pivot",
        "recovery of nothing",
        "two recoveries",
        "private recovery",
        "arity of a recovery",
        "fewer than no retries",
        "no number of retries",
        "too long for a question",
    ],
)
def test_a_class_that_cannot_run_as_written_is_refused_with_the_reason(saga_class, message):
    with pytest.raises(SagaDefinitionError, match=message):
        SagaRegistry([saga_class])


@pytest.fixture
def hasty_threads():
    """Threads take turns at every opportunity."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_threads_that_use_a_class_first_at_the_same_time_all_get_it(hasty_threads):
    threads, classes = 8, [saga(saga_name=f"saga {n}", a=action("a")(work())) for n in range(50)]
    barrier, registry = threading.Barrier(threads), SagaRegistry()

    def use():
        for saga_class in classes:
            barrier.wait(10)
            yield registry.add(saga_class).saga_class

    with ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(lambda _: list(use()), range(threads))) == [classes] * threads


def test_two_classes_with_one_name_are_refused():
    first, second = saga(a=action("a")(work())), saga(a=action("a")(work()))
    with pytest.raises(SagaDefinitionError, match="Two sagas are named 'Shop'"):
        SagaRegistry([first, second])


def test_registering_a_class_again_is_harmless_and_a_factory_may_come_later():
    shop = saga(a=action("a")(work()))
    registry = SagaRegistry([shop, shop])
    made = shop()
    registry.add((shop, lambda: made))
    registry.add(shop)
    assert registry.get("Shop").create() is made


def test_the_steps_of_a_class_are_read_once(monkeypatch):
    shop = saga(a=action("a")(work()))
    registry = SagaRegistry([shop])
    monkeypatch.setattr(definitions, "declared_graph", None)
    assert registry.known_steps() == {"Shop": ["a"]}
    registry.add((shop, lambda: shop()))
    assert list(registry.graph("Shop").nodes) == ["a"]


def test_a_factory_that_makes_something_else_is_refused():
    shop = saga(a=action("a")(work()))
    registry = SagaRegistry([(shop, lambda: object())])
    with pytest.raises(SagaDefinitionError, match="returned a object; it must return a new Shop"):
        registry.get("Shop").create()


def test_an_unknown_name_tells_the_known_ones_and_where_to_add_one():
    registry = SagaRegistry([saga(a=action("a")(work()))], wording=Wording(sagas='SAGAZ["SAGAS"]'))
    with pytest.raises(SagaNotRegistered) as caught:
        registry.get("Shpo")
    message = str(caught.value)
    assert "Did you mean 'Shop'?" in message
    assert "Registered: Shop." in message
    assert 'SAGAZ["SAGAS"]' in message


def test_an_application_says_where_to_add_a_saga_as_its_settings_do():
    configuration = Configuration(Settings(wording=Wording(sagas="create_lifespan(sagas=[…])")))
    with pytest.raises(SagaNotRegistered, match=r"Add its class to create_lifespan\(sagas=\[…\]\)\."):
        configuration.registry.get("Shop")


def test_steps_are_described_dependencies_first():
    shop = saga(
        b=action("b", depends_on=["a"], pivot=True)(work()), a=action("a")(work()), undo=compensate("a")(work())
    )
    described = SagaRegistry([shop]).get("Shop").graph.nodes.values()
    assert [(s.name, s.depends_on, s.compensated, s.pivot) for s in described] == [
        ("a", (), True, False),
        ("b", ("a",), False, True),
    ]


def test_the_steps_with_which_runs_begin_are_known_of_classes_that_make_their_own_instances():
    forked = saga(
        a=action("a")(work()),
        b=action("b")(work()),
        c=action("c", depends_on=["a"])(work()),
        undo=compensate("a")(work()),
    )
    made = type("Made", (Saga,), {"pay": action("pay")(work())})
    adding = type("Adding", (Saga,), {})
    registry = SagaRegistry([forked, made, adding])
    assert {name: sorted(steps) for name, steps in registry.first_steps.items()} == {
        "Shop": [("a", True), ("b", False)], "Made": [("pay", False)], "Adding": [],
    }  # fmt: skip
    known = {name: sorted(steps) for name, steps in registry.known_steps().items()}
    assert known == {"Shop": ["a", "b", "c"], "Made": ["pay"]}
    # Its instances may be of a subclass, with other steps.
    registry.add((made, lambda: made()))
    assert registry.first_steps["Made"] == ()
    assert sorted(registry.known_steps()) == ["Shop"]


def test_a_trigger_gets_one_warning_that_what_it_starts_is_not_durable(caplog):
    shop = saga(a=action("a")(work()), on_order=trigger(source="orders")(work()))
    registry = SagaRegistry([shop])
    registry.add(shop)
    check_served(registry, ["orders"])
    assert not [record for record in caplog.records if record.name.startswith("sagaz_durable")]
    check_served(registry, ["others"])
    [unwanted, record] = [record for record in caplog.records if record.name.startswith("sagaz_durable")]
    assert "Webhooks of 'others' are taken here, and no saga of this process wants them" in unwanted.getMessage()
    assert (
        "Shop.on_order is a @trigger of 'orders', of which no webhooks are taken here: what sagaz's fire_event"
        in record.getMessage()
    )
