"""A saga's steps and compensations as a picture, laid out on the server; a template writes it down as SVG."""

from django_sagaz.admin.diagram.layout import Diagram, lay_out
from django_sagaz.admin.diagram.states import StepState, step_states

__all__ = ["Diagram", "StepState", "lay_out", "step_states"]
