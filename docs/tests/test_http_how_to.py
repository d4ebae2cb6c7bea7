"""The applications of the how-to about HTTP: who may see a run, who decides about it, and nobody else."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from test_docs import run, write

STORY = """
import time
from {module} import app
from {client}

ADA, BOB, MIA = ({{"Authorization": f"Bearer {{name}}-token"}} for name in ("ada", "bob", "mia"))
FIRST, SECOND = ({{**ADA, "Idempotency-Key": key}} for key in ("basket-1", "basket-2"))

def until(path, status):
    deadline = time.monotonic() + 20
    while (answer := client.get(path, headers=MIA)).json()["status"] != status:
        assert time.monotonic() < deadline, answer.json()
        time.sleep(0.02)
    return answer

with TestClient(app) as client:
    assert client.post("/orders", json={{"order_id": "A1", "amount": 500}}).status_code in (401, 403)
    started = client.post("/orders", json={{"order_id": "A1", "amount": 500}}, headers=FIRST)
    assert started.status_code == 202, started.content
    path = started.headers["location"]
    seen = until(path, "waiting")
    assert client.get(path, headers=ADA).json()["context"] == {{"order_id": "A1", "reservation": "R-A1"}}
    assert client.get(path, headers=BOB).status_code == 404
    assert client.get("/sagas?owner=ada", headers=BOB).status_code == 404
    assert [run["owner"] for run in client.get("/sagas?owner=ada", headers=ADA).json()["runs"]] == ["ada"]
    decision = {{"payload": {{"by": "mia"}}, "reason": "a good customer"}}
    known = {{"If-Match": seen.headers["etag"]}}
    assert client.post(f"{{path}}/signal/approval", json=decision, headers={{**ADA, **known}}).status_code == 404
    approved = client.post(f"{{path}}/signal/approval", json=decision, headers={{**MIA, **known}})
    assert approved.status_code == 200, approved.content
    until(path, "completed")
    quick = client.post("/orders", json={{"order_id": "A2", "amount": 5}}, headers={{**SECOND, "Prefer": "wait=5"}})
    assert (quick.status_code, quick.json()["status"]) == (200, "completed"), quick.content
    assert client.get("/health/readiness").status_code == 200
"""


@pytest.mark.parametrize(
    ("module", "client"), [("fastapi_watched", "fastapi.testclient import TestClient")], ids=["fastapi"]
)
def test_an_order_is_watched_by_its_customer_and_decided_by_an_operator(tmp_path: Path, module: str, client: str):
    write("docs/howto/http.md", tmp_path)
    (tmp_path / "_story.py").write_text(STORY.format(module=module, client=client))
    run(tmp_path, sys.executable, "-W", "ignore", "_story.py", SAGAZ_STORAGE_URL="sqlite:///sagas.db")
