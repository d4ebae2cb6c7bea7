"""What ``manage.py sagaz_check`` asks besides the store: Django's own checks of connections."""

from __future__ import annotations

from typing import Any

from django_sagaz._execution.executions import Executions
from django_sagaz._project.current import current_project
from django_sagaz.checks import KINDS, check_connections
from django_sagaz.management.operator_command import ProjectCommand
from sagaz_durable.cli.command import Values
from sagaz_durable.cli.operator_commands import check_store
from sagaz_durable.cli.said import Said
from sagaz_durable.problem_types import Finding

__all__ = ["CheckCommand"]


class CheckCommand(ProjectCommand):
    """Asks the store how it is."""

    def work(self, given: Values, options: dict[str, Any]) -> Said:
        """Check, with what Django's own checks find of connections."""
        project = current_project().changed(alias=options["database"])
        executions = Executions(project)
        try:
            findings = [Finding(KINDS[str(message.id)], str(message.msg)) for message in check_connections(None)]
            return executions.run(lambda runtime: check_store(runtime, given, findings=findings, place=project.place))
        finally:
            executions.close()
