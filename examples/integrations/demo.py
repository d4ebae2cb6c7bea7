"""Orders that survive SIGKILL: starts an example application, kills it in the middle of its sagas, and tells the tale.

Usage: python demo.py [APP ...]          (all applications by default)

Everything happens in a temporary folder and on a free loopback port. Exit code 0 means that every claim which is
printed below was observed.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx

HERE = Path(__file__).resolve().parent

SECONDS = 30.0
"""How long the demonstration waits for anything before it calls that a deviation."""

ADA = {"Authorization": "Bearer ada-token"}
"""The customer who orders everything."""

MIA = {"Authorization": "Bearer mia-token"}
"""The manager who approves large orders."""

TUNED = {"SAGAZ_LEASE_SECONDS": "3", "SAGAZ_RENEW_SECONDS": "0.5", "SAGAZ_POLL_SECONDS": "0.1"}
"""A dead process's runs are taken over when their leases end: after 30 s by default, which is long to watch."""


# The applications.


@dataclass(frozen=True)
class App:
    """An example application, and how to serve it.

    Attributes:
        serve: The command that serves it in one process, given a port.
        kinds: The paths of its endpoints, by what they do with an order.
        prepare: A command to run once, before it is served.
        work: The command of a worker beside the server; without, the server works too.
        refused: The path of an endpoint that starts a saga and then rolls its transaction back.
        approvals: The path at which a manager finds the large orders, which wait for an approval.
    """

    name: str
    folder: Path
    serve: Callable[[int], list[str]]
    kinds: dict[str, str]
    prepare: list[str] | None = None
    work: list[str] | None = None
    refused: str | None = None
    approvals: str | None = None


def fastapi() -> App:
    """The FastAPI application, under uvicorn."""

    def serve(port: int) -> list[str]:
        return [sys.executable, "-m", "uvicorn", "main:app", "--no-access-log", "--port", str(port)]

    return App(
        "fastapi",
        HERE / "fastapi_app",
        serve,
        {"inline": "/orders", "background": "/orders/background", "deferred": "/orders/deferred"},
    )


def flask() -> App:
    """The Flask application, under Flask's own server: one process, so that killing it kills all there is."""

    def serve(port: int) -> list[str]:
        return [sys.executable, "-m", "flask", "--app", "main", "run", "--port", str(port)]

    return App(
        "flask",
        HERE / "flask_app",
        serve,
        {"inline": "/orders", "background": "/orders/background", "deferred": "/orders/deferred"},
    )


def django() -> App:
    """The Django application, under Django's own server, and a worker beside it for what is in the background."""
    manage = [sys.executable, "manage.py"]

    def serve(port: int) -> list[str]:
        return [*manage, "runserver", "--noreload", f"127.0.0.1:{port}"]

    return App(
        "django",
        HERE / "django_app",
        serve,
        {"inline": "/orders", "background": "/orders/decorated", "deferred": "/orders/deferred"},
        prepare=[*manage, "migrate", "--verbosity", "0"],
        work=[*manage, "sagaz_worker"],
        refused="/orders/refused",
        approvals="/approvals",
    )


APPS: dict[str, Callable[[], App]] = {"fastapi": fastapi, "django": django, "flask": flask}


# The orders, and what must become of them.


@dataclass
class Order:
    """One order of the story.

    Attributes:
        killed_in: The service call that SIGKILL interrupts, after the effect and before the answer.
        calls: How often each service must have been called in the end; each did its work once.
    """

    name: str
    kind: str
    status: str = "completed"
    amount: int = 4_200
    killed_in: str | None = None
    calls: dict[str, int] = field(default_factory=lambda: {"reserve": 1, "charge": 1, "ship": 1})
    saga_id: str = ""

    @property
    def body(self) -> dict[str, Any]:
        return {"order_id": self.name, "amount": self.amount}


DECLINED = {"reserve": 1, "charge": 1, "release": 1}


def calm_orders() -> list[Order]:
    """Orders during which nothing dies."""
    return [
        Order("A1", "inline"),
        Order("A2", "background"),
        Order("A3", "deferred"),
        Order("A4", "inline", "rolled_back", amount=99_000, calls=DECLINED),
    ]


def doomed_orders() -> list[Order]:
    """Orders in the middle of which the server is killed."""
    return [
        Order("B1", "inline", killed_in="ship", calls={"reserve": 1, "charge": 1, "ship": 2}),
        Order("B2", "background", killed_in="charge", calls={"reserve": 1, "charge": 2, "ship": 1}),
        Order("B3", "deferred", killed_in="ship", calls={"reserve": 1, "charge": 1, "ship": 2}),
        Order("B4", "background", "rolled_back", 99_000, killed_in="release", calls={**DECLINED, "release": 2}),
    ]


def waiting_orders(app: App) -> list[Order]:
    """Orders that wait for a manager while everything is killed: no process has them."""
    return [] if app.approvals is None else [Order("B5", "inline", amount=7_000)]


# The driver.


class DeviationError(Exception):
    """Something else happened than what is claimed."""


def expect(condition: bool, otherwise: str) -> None:
    if not condition:
        raise DeviationError(otherwise)


def wait_for(what: str, condition: Callable[[], bool]) -> float:
    """Wait until something is so; return how many seconds it took."""
    began = time.monotonic()
    while not condition():
        expect(time.monotonic() - began < SECONDS, f"{what}: not within {SECONDS:.0f} s")
        time.sleep(0.02)
    return time.monotonic() - began


class Shop:
    """One application in a folder of its own: its database, its ledger, its server and its customers."""

    def __init__(self, app: App, folder: Path) -> None:
        self.app = app
        self.ledger_file = folder / "ledger.jsonl"
        self.log_file = folder / "server.log"
        self.hold = folder / "hold"
        self.hold.mkdir()
        self.port = free_port()
        self.http = httpx.Client(
            base_url=f"http://127.0.0.1:{self.port}", timeout=SECONDS, trust_env=False, headers=ADA
        )
        self.server: subprocess.Popen[bytes] | None = None
        self.worker: subprocess.Popen[bytes] | None = None
        self._env = {name: value for name, value in os.environ.items() if not name.startswith(("SAGAZ_", "SHOP_"))} | {
            "SAGAZ_STORAGE_URL": f"sqlite:///{folder / 'orders.db'}",
            "SHOP_DATABASE": str(folder / "shop.db"),
            "DJANGO_DEBUG": "1",
            "SHOP_LEDGER": str(self.ledger_file),
            "SHOP_HOLD": str(self.hold),
            **TUNED,
        }

    def start(self) -> None:
        """Start the server (and its worker) and wait until it answers."""
        self.server = self._run(self.app.serve(self.port))
        if self.app.work is not None:
            self.worker = self._run(self.app.work)
        wait_for("the server answers", self._is_up)

    @property
    def processes(self) -> str:
        """Who they are, as in ``server 12, worker 13``."""
        named = {"server": self.server, "worker": self.worker}
        return ", ".join(f"{name} {process.pid}" for name, process in named.items() if process is not None)

    def prepare(self) -> None:
        """Do what has to be done once."""
        if self.app.prepare is not None:
            expect(self._run(self.app.prepare).wait(SECONDS) == 0, "the preparation failed")

    def _run(self, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log_file.open("ab") as log:
            return subprocess.Popen(command, cwd=self.app.folder, env=self._env, stdout=log, stderr=log)

    def _is_up(self) -> bool:
        expect(self.server is not None and self.server.poll() is None, "the server ended while it was starting")
        try:
            return self.http.get("/orders/none").status_code == 404
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """SIGKILL the server (and its worker): no handler runs, nothing is flushed."""
        for process in filter(None, (self.server, self.worker)):
            process.kill()
            process.wait()

    def stop(self) -> None:
        """Ask the server (and its worker) to shut down, and see that it does."""
        for process in filter(None, (self.server, self.worker)):
            process.terminate()
            process.wait(SECONDS)

    def close(self) -> None:
        """Leave nothing behind."""
        self.kill()
        self.http.close()

    def send(self, order: Order, headers: dict[str, str] | None = None) -> httpx.Response:
        own = {"Idempotency-Key": f"key-of-{order.name}"}
        return self.http.post(self.app.kinds[order.kind], json=order.body, headers=own | (headers or {}))

    def read(self, order: Order) -> dict[str, Any]:
        answer = self.http.get(f"/orders/{order.saga_id}")
        expect(answer.status_code == 200, f"order {order.name} is gone: HTTP {answer.status_code}")
        state: dict[str, Any] = answer.json()
        return state

    def ledger(self, order: Order) -> list[dict[str, Any]]:
        """Return the calls that the services had for an order, oldest first."""
        if not self.ledger_file.exists():
            return []
        lines = map(json.loads, self.ledger_file.read_text().splitlines())
        return [line for line in lines if line["order"] == order.name]

    def ended(self, order: Order) -> bool:
        return self.read(order)["status"] in ("completed", "rolled_back", "failed")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


# The story.


def tell(app: App, shop: Shop) -> None:
    """Play all acts; raises at the first deviation."""
    say(f"{app.name}: sagas on an embedded SQLite file, killed with SIGKILL")
    shop.prepare()
    shop.start()
    print(f"Running: {shop.processes}.")
    calm = calm_orders()
    play_calm(shop, calm)
    doomed, waiting = doomed_orders(), waiting_orders(app)
    with ThreadPoolExecutor() as customers:
        try:
            unanswered = send_doomed(shop, doomed, customers)
            for order in waiting:
                body = received(shop.send(order), order, 202)
                expect(body["status"] == "waiting", f"order {order.name}: {body}")
        finally:
            shop.kill()
        print(f"\nSIGKILL in the middle of {len(doomed)} sagas: {shop.processes}.")
        for order, answer in unanswered:
            expect(is_broken(answer), f"order {order.name} was answered although its server was dead")
            print(f"  {order.name}  its customer got no answer: the connection broke.")
    for held in shop.hold.iterdir():
        held.unlink()
    shop.start()
    print(f"\nStarted again: {shop.processes}. Nobody sends anything again.")
    for order in waiting:
        approve(shop, order)
    took = wait_for("all orders have ended", lambda: all(map(shop.ended, [*doomed, *waiting])))
    print(f"All orders have ended {took:.1f} s later (the dead process's leases had to run out first).")
    say("What happened to each order")
    for order in [*calm, *doomed, *waiting]:
        account(shop, order)
    shop.stop()


def play_calm(shop: Shop, orders: list[Order]) -> None:
    say("Act 1: nothing dies")
    inline, background, deferred, declined = orders
    answer = received(shop.send(inline), inline, 201)
    expect(answer.get("status") == "completed", f"order {inline.name}: {answer}")
    received(shop.send(background), background, 202)
    key = {"Idempotency-Key": "customer-7-basket-3"}
    first = received(shop.send(deferred, key), deferred, 202)
    again = received(shop.send(deferred, key), deferred, 202)
    expect(first == again, f"the same Idempotency-Key gave {first} and {again}")
    print(f"     {deferred.name} was sent twice with one Idempotency-Key: both answers name the same saga.")
    received(shop.send(declined), declined, 402)
    if shop.app.refused is not None:
        play_refused(shop, shop.app.refused)
    wait_for("the orders of act 1 have ended", lambda: all(map(shop.ended, orders)))


def play_refused(shop: Shop, path: str) -> None:
    """Start a saga in a transaction that is rolled back: it was never there."""
    order = Order("A5", "rolled back")
    received(shop.http.post(path, json=order.body, headers={"Idempotency-Key": "key-of-A5"}), order, 409)
    expect(shop.http.get(f"/orders/{order.saga_id}").status_code == 404, f"order {order.name} has a saga")
    expect(not shop.ledger(order), f"order {order.name} was worked on")
    print(f"     {order.name}'s transaction was rolled back after the saga was started in it: there is no saga.")


def received(answer: httpx.Response, order: Order, status: int) -> dict[str, Any]:
    print(f"  {order.name}  {order.kind:<11}  HTTP {answer.status_code}  {answer.text.strip()}")
    expect(answer.status_code == status, f"order {order.name}: expected HTTP {status}")
    body: dict[str, Any] = answer.json()
    order.saga_id = body["saga_id"] if "saga_id" in body else body["detail"]["saga_id"]
    return body


def approve(shop: Shop, order: Order) -> None:
    """Follow the manager's link, as mail scanners do, and then decide: twice the same, and once otherwise."""
    listed = shop.http.get(f"{shop.app.approvals}", headers=MIA).json()["approvals"]
    [link] = [one["link"] for one in listed if one["order_id"] == order.name]
    followed = [shop.http.get(link, headers=MIA).status_code for _ in range(3)]
    expect(followed == [200] * 3 and shop.read(order)["status"] == "waiting", f"order {order.name} did not wait")
    decisions = [shop.http.post(link, json={"approved": one}, headers=MIA).status_code for one in (True, True, False)]
    expect(decisions == [200, 200, 409], f"order {order.name}: deciding gave {decisions}")
    print(f"  {order.name}  waited for its approval. Following the link decided nothing; then Mia approved, twice.")
    print("      To refuse it after that was answered with HTTP 409.")


Answers = list[tuple[Order, Future[httpx.Response]]]


def send_doomed(shop: Shop, orders: list[Order], customers: ThreadPoolExecutor) -> Answers:
    """Send orders that hang where they are to be killed; return those that nobody has answered yet."""
    say("Act 2: SIGKILL")
    for order in orders:
        (shop.hold / f"{order.killed_in}-{order.name}").touch()
    answers = [(order, customers.submit(shop.send, order)) for order in orders]
    for order, answer in answers:
        if order.kind != "inline":
            received(answer.result(), order, 202)
    for order in orders:
        wait_for(f"order {order.name} is in {order.killed_in!r}", partial(is_held, shop, order))
        order.saga_id = shop.ledger(order)[-1]["key"].partition(":")[0]
        print(f"  {order.name}  {order.kind:<11}  {order.killed_in!r} has done its work, and its answer is held back.")
    return [(order, answer) for order, answer in answers if order.kind == "inline"]


def is_held(shop: Shop, order: Order) -> bool:
    calls = shop.ledger(order)
    return bool(calls) and calls[-1]["service"] == order.killed_in


def is_broken(answer: Future[httpx.Response]) -> bool:
    return isinstance(answer.exception(SECONDS), httpx.TransportError)


def account(shop: Shop, order: Order) -> None:
    """Print what became of an order, and compare it with the claims."""
    state, calls = shop.read(order), shop.ledger(order)
    print(f"\n  {order.name}  {order.kind}{', killed in ' + repr(order.killed_in) if order.killed_in else ''}")
    print(f"      ended as {state['status']}")
    for line in calls:
        print(f"      process {line['pid']}: {line['service']:<8} {remark(line, order)}")
    expect(state["status"] == order.status, f"order {order.name} ended as {state['status']}, not {order.status}")
    expect(state["order_id"] == order.name, f"saga {order.saga_id} belongs to order {state['order_id']}")
    counted = dict(Counter(line["service"] for line in calls))
    expect(counted == order.calls, f"order {order.name}: the ledger has {counted}, expected {order.calls}")
    check_keys(order, calls)


def remark(line: dict[str, Any], order: Order) -> str:
    if line["outcome"] == "repeated":
        return "called again under the same key, so it did nothing: it had been done"
    if line["service"] == order.killed_in:
        return f"{line['outcome']}; then SIGKILL, before the journal could say so"
    return str(line["outcome"])


def check_keys(order: Order, calls: list[dict[str, Any]]) -> None:
    """See that each service worked once, and that only what was in doubt was called again, under one key."""
    for service in {line["service"] for line in calls}:
        own = [line for line in calls if line["service"] == service]
        outcomes = [line["outcome"] for line in own]
        expect(
            outcomes[0] in ("done", "declined") and set(outcomes[1:]) <= {"repeated"},
            f"order {order.name}: {service} had the outcomes {outcomes}",
        )
        expect(len({line["key"] for line in own}) == 1, f"order {order.name}: {service} was called with several keys")
        expect(len(own) == 1 or service == order.killed_in, f"order {order.name}: {service} was called again")
    if order.killed_in is not None:
        expect(len({line["pid"] for line in calls}) == 2, f"order {order.name} was not resumed by another process")


def say(title: str) -> None:
    print(f"\n{title}\n{'-' * len(title)}")


@contextmanager
def opened(app: App) -> Iterator[Shop]:
    """A shop in a temporary folder; whatever happens, its server does not outlive the block."""
    with tempfile.TemporaryDirectory(prefix="sagaz-demo-") as folder:
        shop = Shop(app, Path(folder))
        try:
            yield shop
        except (DeviationError, httpx.HTTPError, subprocess.SubprocessError) as error:
            log = shop.log_file.read_text(errors="replace") if shop.log_file.exists() else ""
            raise DeviationError(f"{app.name}: {error}\n\nThe end of the server's log:\n{log[-6_000:]}") from error
        finally:
            shop.close()


def main(names: list[str]) -> int:
    """Play the story with each application; 0 only if nothing deviated from it."""
    if unknown := [name for name in names if name not in APPS]:
        print(f"There is no application {', '.join(unknown)}; there are: {', '.join(APPS)}.")
        return 2
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    for name in names or APPS:
        try:
            with opened(app := APPS[name]()) as shop:
                tell(app, shop)
        except DeviationError as deviation:
            print(f"\nDEVIATION: {deviation}")
            return 1
    say("Observed")
    print("Every order ended as it had to. Every charge, reservation and parcel was made once. Steps that had been")
    print("recorded as done were not called again; the one call of each killed order that was in doubt was repeated")
    print("under its own idempotency key, and the service recognised it.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
