"""The application of the how-to about webhooks: an order that one webhook starts and another one resumes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from test_docs import run, write

STORY = """
import base64, hmac, json, os, time
from fastapi.testclient import TestClient
from fastapi_sagaz import sagas_of
from webhook_shop import app

KEY = base64.b64decode(os.environ["PAYMENTS_SECRET"].removeprefix("whsec_"))

def deliver(delivery_id, event, key=KEY):
    body, now = json.dumps(event).encode(), str(int(time.time()))
    digest = hmac.new(key, f"{delivery_id}.{now}.".encode() + body, "sha256").digest()
    signed = {"webhook-id": delivery_id, "webhook-timestamp": now}
    signed["webhook-signature"] = f"v1,{base64.b64encode(digest).decode()}"
    headers = {"content-type": "application/json", **signed}
    return client.post("/webhooks/payments", content=body, headers=headers).status_code

with TestClient(app) as client:
    checkout = {"type": "checkout.completed", "order": "o-1", "payment": "pi_1"}
    statuses = [deliver(one, checkout) for one in ("msg_1", "msg_1", "msg_2")]
    statuses.append(deliver("msg_3", checkout, b"somebody else's secret"))
    statuses.append(deliver("msg_4", {"type": "payment.succeeded", "payment": "pi_1", "amount": 42}))
    statuses.append(deliver("msg_5", {"type": "weather"}))
    deadline = time.monotonic() + 20
    while [one.status for one in client.portal.call(sagas_of(app).list_runs).runs] != ["completed"]:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    print(json.dumps(statuses))
"""


def test_an_order_is_started_and_resumed_by_signed_webhooks_once(tmp_path: Path) -> None:
    write("docs/howto/webhooks.md", tmp_path)
    said = run(tmp_path, sys.executable, "-W", "ignore", "-c", STORY, SAGAZ_STORAGE_URL="sqlite:///s.db")
    [statuses] = [line for line in said.splitlines() if line.startswith("[")]
    assert json.loads(statuses) == [200, 200, 200, 400, 200, 200]
