"""A diagram as Mermaid text, for documents and chats that draw it."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sagaz_durable.diagram.layout import direct_parents
from sagaz_durable.diagram.states import DrawnStep

__all__ = ["mermaid"]

_CLASSES = {
    "uncalled": "fill:#f3f4f6,stroke:#9ca3af,color:#4b5563,stroke-dasharray:4 3",
    "started": "fill:#e0effe,stroke:#3b82c4,color:#0b4a86",
    "waiting": "fill:#dff3f4,stroke:#2f8a97,color:#0b4f58,stroke-dasharray:1.5 3",
    "done": "fill:#e2f5e7,stroke:#3f9a5c,color:#14572c",
    "kept": "fill:#e2f5e7,stroke:#3f9a5c,color:#14572c",
    "in_doubt": "fill:#fdf2d0,stroke:#b98a1b,color:#6b4700,stroke-dasharray:9 3",
    **dict.fromkeys(("failed", "recovering", "skipped"), "fill:#fde4e4,stroke:#c93a3a,color:#8f1414,stroke-width:3px"),
}

_MARKUP = re.compile(r"[^\w \-.,:()○▸◷✓✕?■↩◆]", re.ASCII)
"""What Mermaid may read as its own, or a browser as HTML: written as a number instead."""


def mermaid(steps: Sequence[DrawnStep]) -> str:
    """Return a flowchart of a run's steps, each with its state and its compensation's."""
    numbers = {step.name: f"s{number}" for number, step in enumerate(steps)}
    lines = ["flowchart TD"]
    for step in steps:
        undo = [f"↩ {step.undo_label}"] if step.undo else []
        label = "<br/>".join(map(_text, [step.shown, f"{step.sign} {step.label}", *undo]))
        lines.append(f'    {numbers[step.name]}["{label}"]:::{step.state}')
    for name, parents in direct_parents(steps).items():
        lines += [f"    {numbers[parent]} --> {numbers[name]}" for parent in parents]
    lines += [f"    classDef {state} {style}" for state, style in _CLASSES.items()]
    return "\n".join(lines) + "\n"


def _text(text: str) -> str:
    return _MARKUP.sub(lambda found: f"#{ord(found[0])};", text)
