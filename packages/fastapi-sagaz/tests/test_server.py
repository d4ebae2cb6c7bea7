"""Under a real uvicorn: killed, stopped, and with clients that leave."""

import signal
import socket
import time

import httpx
import pytest


def status(url, saga_id):
    return httpx.get(f"{url}/orders/{saga_id}").json()


def wait_for(url, saga_id, expected, seconds=20):
    deadline = time.monotonic() + seconds
    while (found := status(url, saga_id))["status"] != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.02)
    return found


@pytest.mark.parametrize("way", ["inline", "background", "later"])
def test_a_killed_server_resumes_at_the_step_where_it_died(shop, way):
    server, url = shop.serve(EMBEDDED="1")
    order = {"order": 1, "hold": "charge"}
    if way == "inline":
        with pytest.raises(httpx.TimeoutException):
            httpx.post(f"{url}/inline", json=order, timeout=1)
    else:
        saga_id = httpx.post(f"{url}/{way}", json=order).json()
    server.notes("charge 1")
    server.kill()
    server.wait()
    shop.go(1)
    server, url = shop.serve(EMBEDDED="1")
    server.notes("ship 1")
    if way != "inline":
        assert wait_for(url, saga_id, "completed")["metadata"]["attempt"] == 2
    assert shop.steps(1) == ["reserve 1 pool-7", "charge 1 charge", "charge 1 charge", "ship 1"]


def test_a_client_that_leaves_does_not_stop_a_background_run(shop):
    server, url = shop.serve()
    body = b'{"order": 1, "linger": true}'
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as client:
        client.sendall(
            b"POST /background HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
        )
        saga_id = server.notes(r"accepted (\S+)")[1]
    wait_for(url, saga_id, "completed")
    assert shop.steps(1) == ["reserve 1 pool-7", "charge 1 charge", "ship 1"]


def test_a_client_that_leaves_does_not_stop_an_inline_run(shop):
    server, url = shop.serve()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(f"{url}/inline", json={"order": 1, "hold": "charge"}, timeout=0.5)
    shop.go(1)
    server.notes("ship 1")
    assert shop.steps(1) == ["reserve 1 pool-7", "charge 1 charge", "ship 1"]


def test_an_endpoint_that_raises_after_the_start_does_not_lose_the_run(shop):
    server, url = shop.serve()
    answer = httpx.post(f"{url}/background", json={"order": 1, "raise": True})
    assert answer.status_code == 418
    wait_for(url, server.notes(r"accepted (\S+)")[1], "completed")


def test_stopping_a_server_lets_its_runs_end_before_its_resources_do(shop):
    server, url = shop.serve()
    httpx.post(f"{url}/background", json={"order": 1, "hold": "charge"})
    server.notes("charge 1")
    server.kill(signal.SIGTERM)
    server.says("Waiting for application shutdown")
    shop.go(1)
    server.wait()
    assert "Application shutdown complete" in server.said
    assert shop.ledger()[-2:] == ["ship 1", "no resources"]


def test_an_embedded_worker_leaves_the_servers_signals_alone(shop):
    server, url = shop.serve(EMBEDDED="1")
    saga_id = httpx.post(f"{url}/later", json={"order": 1}).json()
    wait_for(url, saga_id, "completed")
    server.kill(signal.SIGINT)
    server.wait()
    assert "Application shutdown complete" in server.said


def test_what_a_server_leaves_behind_is_given_back_for_others(shop):
    server, url = shop.serve(SAGAZ_DRAIN_SECONDS="0", SAGAZ_LEASE_SECONDS="60")
    saga_id = httpx.post(f"{url}/background", json={"order": 1, "hold": "charge"}).json()
    server.notes("charge 1")
    server.kill(signal.SIGTERM)
    server.says("Application shutdown complete")
    shop.go(1)
    server.wait()
    _, url = shop.serve(EMBEDDED="1", SAGAZ_LEASE_SECONDS="60")
    assert wait_for(url, saga_id, "completed")["metadata"]["attempt"] == 2


def test_a_store_that_cannot_be_opened_fails_the_start_up(shop):
    server = shop.start("-m", "uvicorn", "main:app", "--port", "0", SAGAZ_STORAGE_URL="sqlite:////no/such/folder/x.db")
    assert server.wait() == 3
    assert "Application startup failed" in server.said
    assert "must be a file, in a directory that exists" in server.said
