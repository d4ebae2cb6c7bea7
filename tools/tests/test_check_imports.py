"""The import check tells sagaz's promise from its internals."""

from pathlib import Path

import check_imports


def test_internals_are_found_wherever_they_are_imported() -> None:
    source = "import sagaz.core\ndef f():\n    from sagaz.storage.base import SagaStorage\n"
    assert list(check_imports.internal_imports(source)) == [(1, "sagaz.core"), (3, "sagaz.storage.base")]


def test_public_modules_and_namesakes_are_fine() -> None:
    source = (
        "import sagaz\nfrom sagaz.integrations import X\nfrom .sagaz.core import Y\nimport sagaz_integration_core\n"
    )
    assert list(check_imports.internal_imports(source)) == []


def test_only_upstream_may(tmp_path: Path) -> None:
    source = tmp_path / "shared/core/src/core"
    for name in ("_upstream.py", "_upstream/graph.py", "runs.py"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("from sagaz.core.saga import Saga\n")
    (source / "_upstream.py").unlink()
    (error,) = check_imports.check(tmp_path)
    assert error.startswith("shared/core/src/core/runs.py:1: imports sagaz.core.saga")


def test_a_private_name_of_another_module_is_found_whatever_it_is_called_here(tmp_path: Path) -> None:
    source = tmp_path / "packages/fastapi-sagaz/src/fastapi_sagaz/cli.py"
    source.parent.mkdir(parents=True)
    source.write_text(
        "from sagaz_durable.calls.foreign import _each as each, members\nfrom sagaz_durable import __version__\n"
        "from sagaz_integration_core import errors as _errors\nfrom asyncio import _get_running_loop\n"
    )
    (error,) = check_imports.check(tmp_path)
    assert error.startswith(
        "packages/fastapi-sagaz/src/fastapi_sagaz/cli.py:1: imports sagaz_durable.calls.foreign._each"
    )
