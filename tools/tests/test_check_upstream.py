"""The import check tells sagaz's promise from its internals."""

from pathlib import Path

import check_upstream


def test_internals_are_found_wherever_they_are_imported() -> None:
    source = "import sagaz.core\ndef f():\n    from sagaz.storage.base import SagaStorage\n"
    assert list(check_upstream.internal_imports(source)) == [(1, "sagaz.core"), (3, "sagaz.storage.base")]


def test_public_modules_and_namesakes_are_fine() -> None:
    source = (
        "import sagaz\nfrom sagaz.integrations import X\nfrom .sagaz.core import Y\nimport sagaz_integration_core\n"
    )
    assert list(check_upstream.internal_imports(source)) == []


def test_only_upstream_may(tmp_path: Path) -> None:
    source = tmp_path / "shared/core/src/core"
    for name in ("_upstream.py", "_upstream/graph.py", "runs.py"):
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_text("from sagaz.core.saga import Saga\n")
    (source / "_upstream.py").unlink()
    (error,) = check_upstream.check(tmp_path)
    assert error.startswith("shared/core/src/core/runs.py:1: imports sagaz.core.saga")
