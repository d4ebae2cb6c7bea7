"""Server processes of one application, which share a store and die at any time."""

from __future__ import annotations

import sys
from pathlib import Path

import httpx

from support.programs import Program, environment, free_port

__all__ = ["Server"]


class Server:
    """One server process.

    Args:
        folder: Where its log is kept, which ``number`` tells from others'.
        app: What uvicorn serves; its route ``/up`` answers.
        url: Of the store.
    """

    def __init__(self, folder: Path, app: str, url: str, number: int, **variables: str) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "uvicorn", app, "--port", str(self.port)]
        env = environment(
            SAGAZ_STORAGE_URL=url, SAGAZ_MIGRATE="1", SAGAZ_LEASE_SECONDS="2", SAGAZ_RENEW_SECONDS="0.5", **variables
        )
        self.program = Program(command, folder / f"server-{number}.log", env)
        self.program.start()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def is_up(self, http: httpx.AsyncClient) -> bool:
        assert self.program.exitcode is None, self.program.tail()
        try:
            return (await http.get(f"{self.address}/up")).status_code == 200
        except httpx.TransportError:
            return False
