"""What importing the package costs, and that sagaz's own import leaves the application's logging alone."""

import subprocess
import sys

import pytest


def run(code: str) -> str:
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


REPORT = "\nroot = logging.getLogger(); print(root.level, [type(h).__name__ for h in root.handlers])"

ORDERS = {
    "the plugin first": "import fastapi_sagaz, sagaz",
    "sagaz first": "import sagaz, fastapi_sagaz",
    "sagaz by name from the plugin": "from fastapi_sagaz import Saga",
    "sagaz only": "import fastapi_sagaz; from sagaz import Saga, action",
}


@pytest.mark.parametrize("imports", ORDERS.values(), ids=ORDERS.keys())
def test_the_root_logger_stays_as_it_was(imports):
    assert run(f"import logging\n{imports}{REPORT}") == "30 []"


@pytest.mark.parametrize("imports", ORDERS.values(), ids=ORDERS.keys())
def test_the_applications_own_configuration_before_the_import_stands(imports):
    code = f"import logging\nlogging.basicConfig(level=logging.ERROR, filename='/dev/null')\n{imports}{REPORT}"
    assert run(code) == "40 ['FileHandler']"


@pytest.mark.parametrize("imports", ORDERS.values(), ids=ORDERS.keys())
def test_the_applications_own_configuration_after_the_import_takes_effect(imports):
    code = f"import logging\n{imports}\nlogging.basicConfig(level=logging.DEBUG, filename='/dev/null'){REPORT}"
    assert run(code) == "10 ['FileHandler']"


def test_starting_an_application_leaves_the_root_logger_alone():
    code = """
import asyncio, logging
from fastapi import FastAPI
from fastapi_sagaz import create_lifespan
app = FastAPI(lifespan=create_lifespan())
async def main():
    async with app.router.lifespan_context(app):
        pass
asyncio.run(main())"""
    assert run(code + REPORT) == "30 []"


def test_importing_the_package_loads_neither_sagaz_nor_the_engine():
    loaded = run("import sys, fastapi_sagaz; print(*sorted(sys.modules))").split()
    assert "sagaz" not in loaded
    assert "sagaz_durable.runtime.runtime" not in loaded


def test_the_names_of_sagaz_are_its_own_objects():
    import sagaz

    import fastapi_sagaz

    assert fastapi_sagaz.Saga is sagaz.Saga
    assert fastapi_sagaz.action is sagaz.action
    assert fastapi_sagaz.compensate is sagaz.compensate


def test_every_public_name_is_there():
    import fastapi_sagaz

    assert {name for name in fastapi_sagaz.__all__ if not hasattr(fastapi_sagaz, name)} == set()
    with pytest.raises(AttributeError, match="no attribute 'create_lifespam'"):
        _ = fastapi_sagaz.create_lifespam
