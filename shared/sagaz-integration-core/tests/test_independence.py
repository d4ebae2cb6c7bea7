"""The contract stands alone: it is what everybody else stands on."""

import importlib
import importlib.metadata
import pkgutil
import subprocess
import sys

import sagaz_integration_core

BLOCKED = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in sys.stdlib_module_names and top != "sagaz_integration_core":
            raise ImportError(f"blocked: {name}")

sys.meta_path.insert(0, Block())
import pkgutil, importlib, sagaz_integration_core as contract
for module in pkgutil.walk_packages(contract.__path__, "sagaz_integration_core."):
    importlib.import_module(module.name)
    print(module.name)
"""


def test_every_module_imports_with_nothing_but_the_standard_library():
    done = subprocess.run([sys.executable, "-c", BLOCKED], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "sagaz_integration_core.contract.store" in done.stdout


def test_the_distribution_needs_nothing():
    assert importlib.metadata.requires("sagaz-integration-core") in (None, [])


def test_every_public_name_exists():
    for module in pkgutil.walk_packages(sagaz_integration_core.__path__, "sagaz_integration_core."):
        loaded = importlib.import_module(module.name)
        assert all(hasattr(loaded, name) for name in getattr(loaded, "__all__", ())), module.name
