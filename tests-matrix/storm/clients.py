"""The clients of a storm: they send every order and signal when it is due, and note what they were answered."""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path

import httpx

from storm.deliveries import UNSENT, Delivery, deliver
from storm.plan import Order, Signal

__all__ = ["Clients", "Sent", "Signalled"]

_TIMEOUT = 15.0
_PAUSE = 0.1


@dataclass
class Sent:
    """What became of an order, as its client knows.

    Attributes:
        saga_ids: Those of all acknowledgements, each a 2xx answer; more than one is a bug.
        unanswered: How many requests got no answer: their run may exist or not.
        refusals: The times at which other answers came, with their status and text.
    """

    order: Order
    began: float = 0.0
    ended: float = 0.0
    saga_ids: list[str] = field(default_factory=list)
    unanswered: int = 0
    refusals: list[tuple[float, int, str]] = field(default_factory=list)

    @property
    def acknowledged(self) -> bool:
        return bool(self.saga_ids)


@dataclass
class Signalled:
    """What became of a signal, as those know who have sent it.

    Attributes:
        new: The times at which a sender was told that it is a new one.
        repeated: How many were told that it is not.
        unanswered: How many requests got no answer: theirs may have been the first.
        deliveries: Those of a webhook, of which no sender is told whether it is a new one.
    """

    signal: Signal
    new: list[float] = field(default_factory=list)
    repeated: int = 0
    unanswered: int = 0
    deliveries: list[Delivery] = field(default_factory=list)

    @property
    def answered(self) -> list[float]:
        """When senders of a webhook were told that it was received."""
        return sorted(delivery.ended for delivery in self.deliveries if delivery.is_answered)

    @property
    def arrived_at(self) -> float | None:
        """When its first sender knew that it was recorded."""
        return min([*self.new, *self.answered], default=None)


class Clients:
    """Sends orders and signals to any of the servers."""

    def __init__(self, orders: Sequence[Order], ports: Sequence[int], signals: Sequence[Signal] = ()) -> None:
        self.sent = [Sent(order) for order in orders]
        self.signalled = [Signalled(signal) for signal in signals]
        self._http = [
            httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=_TIMEOUT, trust_env=False) for port in ports
        ]
        self._stop = threading.Event()

    def send_all(self, began: float) -> None:
        """Send everything, each order when it is due after ``began``, and wait for the last answer."""
        with ThreadPoolExecutor(32, thread_name_prefix="client") as clients:
            for sent in self.sent:
                if self._stop.wait(max(0.0, began + sent.order.due - time.monotonic())):
                    return
                clients.submit(self._send, sent).add_done_callback(lambda done: done.result())

    def signal_all(self, began: float) -> None:
        """Send every signal of the storm when it is due after ``began``, from all of its senders at once."""
        with ThreadPoolExecutor(64, thread_name_prefix="sender") as senders:
            for signalled in self.signalled:
                if signalled.signal.due == math.inf:
                    continue
                if self._stop.wait(max(0.0, began + signalled.signal.due - time.monotonic())):
                    return
                self._submit(senders, signalled)

    def deliver_late(self) -> None:
        """Deliver the events that come when every run has ended, and repeat those that are delivered once more then."""
        with ThreadPoolExecutor(16, thread_name_prefix="sender") as senders:
            for signalled in self.signalled:
                if signalled.signal.due == math.inf:
                    self._submit(senders, signalled)
                elif signalled.signal.is_repeated:
                    senders.submit(self._deliver, signalled, 0, 1).add_done_callback(lambda done: done.result())

    def signal_now(self, signals: Sequence[Signal]) -> None:
        """Send these signals, each from all of its senders, and return when all are acknowledged."""
        made = [Signalled(signal) for signal in signals]
        with ThreadPoolExecutor(16, thread_name_prefix="sender") as senders:
            for one in made:
                self._submit(senders, one)

    def _submit(self, senders: ThreadPoolExecutor, signalled: Signalled) -> None:
        for number in range(signalled.signal.senders):
            if signalled.signal.is_webhook:
                done = senders.submit(self._deliver, signalled, number, 1 + signalled.signal.is_repeated)
            else:
                done = senders.submit(self._signal, signalled, number)
            done.add_done_callback(lambda done: done.result())

    def _deliver(self, signalled: Signalled, number: int, times: int) -> None:
        """Deliver an event until it was answered so many times that it was received, as a sender does."""
        signal = signalled.signal
        saga_id = self._run_for(signal) if signal.to_run else None
        # Nobody delivers an event of a run that he has not heard of.
        while times and (saga_id or not signal.to_run) and not self._stop.is_set():
            number += 1
            delivery = deliver(self._http[number % len(self._http)], signal, saga_id, number)
            if delivery is not None:
                signalled.deliveries.append(delivery)
            if delivery is not None and delivery.is_answered:
                times -= 1
            else:
                self._stop.wait(_PAUSE)

    def _run_for(self, signal: Signal) -> str | None:
        """Return the run of a signal's order, as its client was told; None if he was told of none."""
        [sent] = [sent for sent in self.sent if sent.order.key == signal.key]
        while not sent.ended and not self._stop.wait(_PAUSE):
            pass
        return sent.saga_ids[0] if sent.saga_ids else None

    def _signal(self, signalled: Signalled, number: int) -> None:
        """Send a signal until it is acknowledged."""
        signal = signalled.signal
        body = {"key": signal.key, "signal_id": signal.signal_id, "payload": {"id": signal.signal_id}}
        while not self._stop.is_set():
            number += 1
            try:
                answer = self._http[number % len(self._http)].post("/signal", json=body)
            except UNSENT:
                self._stop.wait(_PAUSE)
                continue
            except httpx.TransportError:
                signalled.unanswered += 1
                continue
            if not answer.is_success:
                signalled.unanswered += 1
                self._stop.wait(_PAUSE)
            elif answer.json()["new"]:
                signalled.new.append(time.monotonic())
                return
            else:
                signalled.repeated += 1
                return

    def stop(self) -> None:
        """Send nothing more."""
        self._stop.set()

    def close(self) -> None:
        for client in self._http:
            client.close()

    def _send(self, sent: Sent) -> None:
        sent.began = time.monotonic()
        attempt = sent.order.number
        while not self._stop.is_set():
            attempt += 1
            if not self._try(sent, self._http[attempt % len(self._http)]):
                # The connection was refused: nothing was sent. Another server may be there.
                self._stop.wait(_PAUSE)
            elif sent.acknowledged or not sent.order.insists:
                break
            else:
                self._stop.wait(_PAUSE)
        sent.ended = time.monotonic()

    def _try(self, sent: Sent, server: httpx.Client) -> bool:
        """Send it once; False when it cannot have arrived."""
        order = sent.order
        try:
            answer = server.post(f"/{order.kind}", json=order.context, headers={"Idempotency-Key": order.key})
        except UNSENT:
            return False
        except httpx.TransportError:
            sent.unanswered += 1
            return True
        if answer.is_success:
            sent.saga_ids.append(answer.json()["saga_id"])
        else:
            sent.refusals.append((time.monotonic(), answer.status_code, answer.text[:500]))
        return True

    def save(self, path: Path) -> None:
        """Write what the clients know."""
        path.write_text("".join(json.dumps(asdict(sent)) + "\n" for sent in (*self.sent, *self.signalled)))
