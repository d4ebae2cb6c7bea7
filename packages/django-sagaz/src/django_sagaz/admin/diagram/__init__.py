"""A saga's steps and compensations as a picture, laid out on the server; a template writes it down as SVG."""

from django_sagaz.admin.diagram.layout import Diagram, lay_out
from django_sagaz.admin.diagram.states import DrawnStep, drawn_steps

__all__ = ["Diagram", "DrawnStep", "drawn_steps", "lay_out"]
