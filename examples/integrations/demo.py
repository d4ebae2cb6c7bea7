"""Orders that survive SIGKILL: starts an example application, kills it in the middle of its sagas, and tells the tale.

Usage: python demo.py [APP ...]          (all applications by default)

Everything happens in a temporary folder and on a free loopback port. Exit code 0 means that every claim which is
printed below was observed.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
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

BOB = {"Authorization": "Bearer bob-token"}
"""Another customer."""

MIA = {"Authorization": "Bearer mia-token"}
"""The manager who approves large orders."""

PROVIDER, FORGER = b"the-provider-of-the-demonstration", b"somebody-else-with-another-secret"
"""What the payment provider signs its webhooks with, and what somebody else does who knows their address."""

TUNED = {"SAGAZ_LEASE_SECONDS": "2", "SAGAZ_RENEW_SECONDS": "0.5", "SAGAZ_POLL_SECONDS": "0.1"}
"""A dead process's runs are taken over when their leases end: after 30 s by default, which is long to watch."""


# The applications.


@dataclass(frozen=True)
class App:
    """An example application, and how to serve it.

    Attributes:
        serve: The command that serves it in one process, given a port; `held_answers` lets it be killed in time.
        kinds: The paths of its endpoints, by what they do with an order.
        prepare: A command to run once, before it is served.
        work: The command of a worker beside the server; without, the server works too.
        refused: The path of an endpoint that starts a saga and then rolls its transaction back.
        sagas: The path at which runs are listed.
    """

    name: str
    folder: Path
    serve: Callable[[int], list[str]]
    kinds: dict[str, str]
    prepare: list[str] | None = None
    work: list[str] | None = None
    refused: str | None = None
    sagas: str = "/sagas"


def fastapi() -> App:
    """The FastAPI application, under uvicorn."""
    uvicorn = [sys.executable, "-m", "uvicorn"]

    def serve(port: int) -> list[str]:
        return [*uvicorn, "--factory", "held_answers:fastapi_app", "--no-access-log", "--port", str(port)]

    return App(
        "fastapi",
        HERE / "fastapi_app",
        serve,
        {"inline": "/orders", "background": "/orders/background", "deferred": "/orders/deferred"},
    )


def flask() -> App:
    """The Flask application, under Flask's own server: one process, so that killing it kills all there is."""

    def serve(port: int) -> list[str]:
        return [sys.executable, "-m", "flask", "--app", "held_answers:flask_app()", "run", "--port", str(port)]

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
        return [sys.executable, str(HERE / "held_answers.py"), str(port)]

    return App(
        "django",
        HERE / "django_app",
        serve,
        {"inline": "/orders", "background": "/orders/decorated", "deferred": "/orders/deferred"},
        prepare=[*manage, "migrate", "--verbosity", "0"],
        work=[*manage, "sagaz_worker"],
        refused="/orders/refused",
        sagas="/sagas/",
    )


APPS: dict[str, Callable[[], App]] = {"fastapi": fastapi, "django": django, "flask": flask}


# The orders, and what must become of them.


@dataclass
class Order:
    """One order of the story.

    Attributes:
        killed_in: The service call that SIGKILL interrupts, after the effect and before the answer.
        calls: How often each service must have been called in the end; each did its work once.
        answered: What its customer was answered.
        payment: By ``card``, or by a ``transfer`` that the payment provider tells of in a webhook.
    """

    name: str
    kind: str
    status: str = "completed"
    amount: int = 4_200
    killed_in: str | None = None
    calls: dict[str, int] = field(default_factory=lambda: {"reserve": 1, "charge": 1, "ship": 1})
    saga_id: str = ""
    answered: bytes = b""
    payment: str = "card"

    @property
    def body(self) -> dict[str, Any]:
        return {"order_id": self.name, "amount": self.amount, "payment": self.payment}


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


def waiting_order() -> Order:
    """An order that waits for a manager while everything is killed: no process has it."""
    return Order("B5", "inline", amount=7_000)


def transferred_order() -> Order:
    """An order whose server is killed when it has stored the provider's webhook, and has not answered it."""
    return Order("C1", "inline", payment="transfer", killed_in="ship", calls={"reserve": 1, "charge": 1, "ship": 2})


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
            "SHOP_PAYMENTS_SECRET": f"whsec_{base64.b64encode(PROVIDER).decode()}",
            "PYTHONPATH": os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])]),
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
            return self.http.get("/sagas/none").status_code == 404
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

    def send(self, order: Order) -> httpx.Response:
        key = {"Idempotency-Key": f"key-of-{order.name}"}
        return self.http.post(self.app.kinds[order.kind], json=order.body, headers=key)

    def tell_paid(self, order: Order, secret: bytes = PROVIDER, age: int = 0) -> httpx.Response:
        """Tell of an order's payment as the payment provider does: signed as Standard Webhooks has it."""
        body = json.dumps({"type": "payment.paid", "data": {"reference": order.saga_id}}).encode()
        message, now = f"msg_{order.name}", str(int(time.time()) - age)
        signature = hmac.digest(secret, f"{message}.{now}.".encode() + body, hashlib.sha256)
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message,
            "webhook-timestamp": now,
            "webhook-signature": f"v1,{base64.b64encode(signature).decode()}",
        }
        # With no bearer token, unlike a customer.
        return httpx.post(
            f"{self.http.base_url}/webhooks/payments", content=body, headers=headers, timeout=SECONDS, trust_env=False
        )

    def read(self, order: Order) -> dict[str, Any]:
        answer = self.http.get(f"/sagas/{order.saga_id}")
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
    doomed, waiting = doomed_orders(), waiting_order()
    with ThreadPoolExecutor() as customers:
        try:
            unanswered = send_doomed(shop, doomed, customers)
            received(shop.send(waiting), waiting, 202)
            expect(shop.read(waiting)["status"] == "waiting", f"order {waiting.name} does not wait")
            print("      It is above the limit, and waits for a manager's approval.")
        finally:
            shop.kill()
        print(f"\nSIGKILL in the middle of {len(doomed)} sagas: {shop.processes}.")
        for order, answer in unanswered:
            expect(is_broken(answer), f"order {order.name} was answered although its server was dead")
            print(f"  {order.name}  its customer got no answer: the connection broke.")
    for held in shop.hold.iterdir():
        held.unlink()
    shop.start()
    print(f"\nStarted again: {shop.processes}. Nobody sends anything again yet.")
    decide(shop, waiting)
    took = wait_for("all orders have ended", lambda: all(map(shop.ended, [*doomed, waiting])))
    print(f"All orders have ended {took:.1f} s later (the dead process's leases had to run out first).")
    repeat(shop, doomed[0])
    transferred = transferred_order()
    play_webhooks(shop, transferred)
    say("What happened to each order")
    for order in [*calm, *doomed, waiting, transferred]:
        account(shop, order)
    shop.stop()


def play_calm(shop: Shop, orders: list[Order]) -> None:
    say("Act 1: nothing dies")
    inline, background, deferred, declined = orders
    answer = received(shop.send(inline), inline, 201)
    expect(answer.get("status") == "completed", f"order {inline.name}: {answer}")
    received(shop.send(background), background, 202)
    received(shop.send(deferred), deferred, 202)
    received(shop.send(declined), declined, 402)
    declined.saga_id = saga_of(shop, declined)
    for order in (inline, deferred, declined):
        expect_replay(shop, order)
    print("     A1, A3 and A4 were sent again with their Idempotency-Keys, and got the same answers, byte by byte.")
    if shop.app.refused is not None:
        play_refused(shop, shop.app.refused)
    wait_for("the orders of act 1 have ended", lambda: all(map(shop.ended, orders)))


def expect_replay(shop: Shop, order: Order) -> None:
    """Send an order again: what is answered is what was answered before, byte by byte, and nothing is ordered."""
    answer = shop.send(order)
    expect(answer.headers.get("Idempotent-Replayed") == "true", f"order {order.name} was executed again")
    expect(answer.content == order.answered, f"order {order.name} was answered with {answer.text}")


def play_refused(shop: Shop, path: str) -> None:
    """Start a saga in a transaction that is rolled back: it was never there."""
    order = Order("A5", "rolled back")
    received(shop.http.post(path, json=order.body, headers={"Idempotency-Key": "key-of-A5"}), order, 409)
    expect(shop.http.get(f"/sagas/{order.saga_id}").status_code == 404, f"order {order.name} has a saga")
    expect(not shop.ledger(order), f"order {order.name} was worked on")
    print(f"     {order.name}'s transaction was rolled back after the saga was started in it: there is no saga.")


def received(answer: httpx.Response, order: Order, status: int) -> dict[str, Any]:
    print(f"  {order.name}  {order.kind:<11}  HTTP {answer.status_code}  {answer.text.strip()}")
    expect(answer.status_code == status, f"order {order.name}: expected HTTP {status}")
    body: dict[str, Any] = answer.json()
    order.answered = answer.content
    order.saga_id = body.get("saga_id", "")
    return body


def decide(shop: Shop, order: Order) -> None:
    """Have a manager decide about an order that waits: twice the same, and once otherwise; nobody else may."""
    where, decision = f"/sagas/{order.saga_id}", f"/sagas/{order.saga_id}/signal/approval"

    def post(who: dict[str, str], *, approved: bool) -> int:
        return shop.http.post(decision, json={"payload": {"approved": approved}}, headers=who).status_code

    refused = [shop.http.get(where, headers=BOB).status_code, post(BOB, approved=True), post(ADA, approved=True)]
    expect(refused == [404] * 3, f"order {order.name}: customers were answered with {refused}")
    listed = shop.http.get(shop.app.sagas, params={"status": "waiting"}, headers=MIA).json()["runs"]
    expect([run["saga_id"] for run in listed] == [order.saga_id], f"order {order.name} did not wait")
    print(f"  {order.name}  still waits. Bob may not see it, and neither he nor Ada may decide about it: HTTP 404.")
    decisions = [post(MIA, approved=one) for one in (True, True, False)]
    expect(decisions == [200, 200, 409], f"order {order.name}: deciding gave {decisions}")
    print("      Mia, a manager, found it in the list of what waits, and approved it: HTTP 200, and again when it was")
    print("      sent twice. To refuse it after that was answered with HTTP 409.")


def repeat(shop: Shop, order: Order) -> None:
    """Send again, with its key, what got no answer because the server was killed: the run that was started answers."""
    calls, answer = shop.ledger(order), shop.send(order)
    while answer.status_code == 409:
        # Until the dead server's lease on the key ends.
        time.sleep(int(answer.headers["Retry-After"]))
        answer = shop.send(order)
    print()
    body = received(answer, order, 202)
    expect(shop.ledger(order) == calls, f"order {order.name} was worked on again")
    expect(shop.read(order)["status"] == body["status"], f"order {order.name}: {body}")
    expect_replay(shop, order)
    print(
        "      Its customer, who had got no answer, sent it again with its key: the saga that it had started answers."
    )


def play_webhooks(shop: Shop, order: Order) -> None:
    """Have the provider tell of a payment: forged, then killed before it is answered, then again and again."""
    say("Act 3: the payment provider")
    received(shop.send(order), order, 202)
    print("      It is paid by transfer, and waits for the payment provider's webhook.")
    refused = [shop.tell_paid(order, FORGER).status_code, shop.tell_paid(order, age=3_600).status_code]
    expect(refused == [400, 400], f"order {order.name}: forged webhooks were answered with {refused}")
    expect(shop.read(order)["status"] == "waiting", f"order {order.name} was taken for paid")
    print("      A webhook with a forged signature, and one that was recorded an hour ago, are refused: HTTP 400.")
    (shop.hold / "webhook").touch()
    (shop.hold / f"{order.killed_in}-{order.name}").touch()
    with ThreadPoolExecutor() as provider:
        try:
            answer = provider.submit(shop.tell_paid, order)
            wait_for("the webhook is stored", (shop.hold / "stored").exists)
            wait_for(f"order {order.name} is in {order.killed_in!r}", partial(is_held, shop, order))
        finally:
            shop.kill()
        expect(is_broken(answer), f"the webhook of order {order.name} was answered although its server was dead")
    print(f"\nSIGKILL when the webhook was stored, and before it was answered: {shop.processes}.")
    for held in shop.hold.iterdir():
        held.unlink()
    shop.start()
    print(f"Started again: {shop.processes}. The provider got no answer, and sends its webhook again, three times.")
    answers = [shop.tell_paid(order) for _ in range(3)]
    told = [(one.status_code, one.text.strip()) for one in answers]
    expect([status for status, _ in told] == [200] * 3, f"the webhook of order {order.name} was answered with {told}")
    wait_for(f"order {order.name} has ended", partial(shop.ended, order))
    expect(shop.tell_paid(order).status_code == 200, f"the webhook of order {order.name} was refused after its end")
    print(f"      HTTP 200, each time, and also after the order's end: {told[0][1]}")


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
        order.saga_id = saga_of(shop, order)
        print(f"  {order.name}  {order.kind:<11}  {order.killed_in!r} has done its work, and its answer is held back.")
    return [(order, answer) for order, answer in answers if order.kind == "inline"]


def saga_of(shop: Shop, order: Order) -> str:
    """Return the saga of an order, by the keys of its calls."""
    saga_id: str = shop.ledger(order)[-1]["key"].partition(":")[0]
    return saga_id


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
    expect(state["context"]["order_id"] == order.name, f"saga {order.saga_id} is that of {state['context']}")
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
        doubtful = {line["pid"] for line in calls if line["service"] == order.killed_in}
        expect(len(doubtful) == 2, f"order {order.name} was not resumed by another process")


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
    print("under its own idempotency key, and the service recognised it. The order above the limit waited for its")
    print("manager, whatever was killed meanwhile; and a request that was repeated got the same answer. The payment")
    print("that the provider told of counted once, however often it was told, and forged ones did not count.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
