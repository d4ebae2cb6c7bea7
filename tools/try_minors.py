"""Try every minor release of a framework that makes one every few days, from the oldest to the train.

Usage: python tools/try_minors.py PYTHON [pytest's arguments]

PYTHON is an interpreter that has our wheels: each minor's newest patch is installed into a folder of its own, which
goes before what else is installed there. Two are tried at a time.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from trains import ROOT, Table, read_release, tested_minors

TESTS = ("test_route_discovery.py", "test_lifespan_routers.py", "test_saga_factory.py", "test_background.py")
CASES = [
    "tests-matrix/contract/test_contract.py", "-k",
    "not test_contract or fastapi-memory-inline or fastapi-memory-lifecycle",
]  # fmt: skip


def try_minors(root: Path, python: str, arguments: list[str]) -> list[str]:
    """Return the releases with which something failed, after all were tried."""
    failed = []
    for package in read_release(root)["packages"].values():
        if package.get("framework", {}).get("every_minor"):
            tests = [str(root / package["path"] / "tests" / test) for test in TESTS]
            minors = minors_of(package)
            with ThreadPoolExecutor(2) as pool:
                works = pool.map(partial(_works, python, [*tests, *CASES, *arguments]), minors)
                failed += [minor for minor, it_works in zip(minors, works, strict=True) if not it_works]
    return failed


def minors_of(package: Table) -> list[str]:
    """Return the requirements to try, as fastapi==0.121.*."""
    framework = package["framework"]
    broken = "".join(f",!={version}" for version in framework.get("broken", []))
    return [f"{framework['requirement']}=={minor}.*{broken}" for minor in tested_minors(framework)]


def _works(python: str, arguments: list[str], requirement: str) -> bool:
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        variables = {**os.environ, "PYTHONPATH": folder}
        install = ["uv", "pip", "install", "--quiet", "--python", python, "--target", folder, requirement]
        # httpx2 is for the newest of starlette, and the oldest do not mind it.
        for command in (install, [python, "-m", "pytest", "-q", "--no-header", "-p", "no:cacheprovider", *arguments]):
            done = subprocess.run(
                command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
            )
            if done.returncode:
                print(f"{requirement}: FAILED\n{done.stdout}", flush=True)
                return False
    said = done.stdout.strip().splitlines()[-1]
    print(f"{requirement}: {said} ({time.monotonic() - began:.0f} s with the installation)", flush=True)
    return True


if __name__ == "__main__":
    failed = try_minors(ROOT, sys.argv[1], sys.argv[2:])
    sys.exit(f"failed: {', '.join(failed)}" if failed else 0)
