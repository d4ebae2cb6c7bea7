"""What is paid before the first saga."""

from __future__ import annotations

from benchmarks.harness.model import POSTGRES, Contender, Job, Metric, Target

__all__ = ["STARTUP", "WIRING"]

_FRAMEWORKS = ("fastapi", "django", "flask")

WIRING = Job(
    name="imports",
    number="7a",
    title="Import of a plugin, above its framework's",
    what=(
        "In a fresh process, after the framework's own import (of Django with its setup, its users and its admin): the "
        "import of the plugin; and with the wiring, without which it does nothing: lifespan and middleware, extension, "
        "or the setup of the installed application with its models. No saga is started, and sagaz is not loaded."
    ),
    contenders=(
        *(Contender(f"{name}-sagaz", "imports.wiring", options={"of": name}) for name in _FRAMEWORKS),
        Contender("sagaz", "imports.wiring", options={"of": "sagaz"}),
        Contender("sagaz.integrations.fastapi", "imports.wiring", options={"of": "sagaz.integrations.fastapi"}),
    ),
    metrics=(Metric("import", "ms", "less", 1), Metric("import and wiring", "ms", "less", 1)),
    targets=tuple(
        Target(f"imports.{name}", f"import {name}_sagaz, in ms", (f"{name}-sagaz", "import"), at_most=15)
        for name in _FRAMEWORKS
    ),
    size=(3, 1),
    rounds=(9, 3),
    baseline="sagaz",
)

STARTUP = Job(
    name="startup",
    number="7b",
    title="Start of the worker command",
    what=(
        "From the start of the process to the line that says that it works, its PostgreSQL reached. The floor is a "
        "process that imports sagaz and the framework, makes an application, and says so; Django's checks the project, "
        "as every command does."
    ),
    contenders=(
        *(
            Contender(f"floor, {name}", "imports.startup", "work", POSTGRES, {"of": f"floor of {name}"})
            for name in _FRAMEWORKS
        ),
        *(Contender(f"{name}-sagaz", "imports.startup", needs=POSTGRES, options={"of": name}) for name in _FRAMEWORKS),
    ),
    metrics=(Metric("start", "ms", "less"),),
    targets=tuple(
        Target(
            f"startup.{name}",
            f"{name}-sagaz to import sagaz and {name}",
            (f"{name}-sagaz", "start"),
            (f"floor, {name}", "start"),
            at_most=1.3,
        )
        for name in _FRAMEWORKS
    ),
    size=(1, 1),
    rounds=(9, 3),
    baseline="floor, fastapi",
)  # fmt: skip
