"""Sagas of routes are found on every minor release of FastAPI that the plugin takes; a few of them outside of CI."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SHAPES = ROOT / "packages/fastapi-sagaz/tests/discovery_shapes.py"


def minors():
    """The releases to install: every minor, and those patches in which routers have changed."""
    declared = (ROOT / "packages/fastapi-sagaz/pyproject.toml").read_text()
    first = int(re.findall(r'"fastapi>=0\.(\d+)', declared)[0])
    newest = int(version("fastapi").split(".")[1])
    if os.environ.get("CI"):
        return ["0.137.0", *(f"0.{minor}.*" for minor in range(first, newest + 1)), "0.143.0"]
    return [f"0.{first}.*", "0.137.0", "0.137.2", "0.143.0", f"0.{newest}.*"]


@pytest.mark.parametrize("minor", minors())
def test_the_sagas_of_all_routes_are_found_with_fastapi(minor, tmp_path):
    install = ["uv", "pip", "install", "--quiet", "--python", sys.executable, "--target", str(tmp_path)]
    subprocess.run([*install, f"fastapi=={minor}"], check=True, timeout=100)
    env = {**os.environ, "PYTHONPATH": str(tmp_path)}
    found = subprocess.run([sys.executable, SHAPES], env=env, capture_output=True, text=True, timeout=60, check=False)
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == "", f"not found in: {found.stdout}"
