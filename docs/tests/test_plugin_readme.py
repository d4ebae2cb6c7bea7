"""The middleware in the contract's README does for an application what is said there that a plugin does."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

README = Path(__file__).resolve().parents[2] / "shared/sagaz-integration-core/README.md"

PROGRAM = """
import asyncio, httpx
from sagaz_asgi import SagazASGI
from sagaz_durable import Saga, action
from sagaz_durable.settings.settings import Settings

class GreetingSaga(Saga):
    @action("greet")
    async def greet(self, ctx):
        return {"said": f"Hello, {ctx['name']}"}

async def app(scope, receive, send):
    run = await scope["sagaz"].run(GreetingSaga, {"name": "Ada"})
    await send({"type": "http.response.start", "status": 200})
    await send({"type": "http.response.body", "body": f"{run['said']} {run['correlation_id']}".encode()})

async def main():
    plugin = SagazASGI(app, Settings(storage_url="sqlite:///sagas.db"), [GreetingSaga])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(plugin), base_url="http://shop") as client:
        for _ in range(2):
            async with plugin.lifespan():
                answer = await client.get("/", headers={"X-Correlation-ID": "c-1"})
                print(answer.text, answer.headers["X-Correlation-ID"])
        try:
            await client.get("/")
        except Exception as error:
            print(type(error).__name__)

asyncio.run(main())
"""


def test_the_middleware_of_the_contracts_readme_works(tmp_path: Path) -> None:
    [block] = re.findall(r"^```python\n(# sagaz_asgi\.py\n.*?)^```", README.read_text(), re.MULTILINE | re.DOTALL)
    (tmp_path / "sagaz_asgi.py").write_text(block)
    (tmp_path / "program.py").write_text(PROGRAM)
    done = subprocess.run(
        [sys.executable, "program.py"], cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.stdout.splitlines() == ["Hello, Ada c-1 c-1"] * 2 + ["RuntimeNotOpen"], done.stderr
