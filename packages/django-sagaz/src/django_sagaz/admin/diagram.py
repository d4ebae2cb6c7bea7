"""The picture of a run's steps, in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from sagaz_durable.diagram.states import DrawnStep
from sagaz_durable.diagram.svg import svg

__all__ = ["picture", "translated_words"]


def picture(states: Sequence[DrawnStep], title: str, *, registered: bool) -> SafeString:
    """Return the picture as SVG, in which names are escaped; the page's style sheet has its colours."""
    return mark_safe(svg(states, title, words=translated_words(), by_order=not registered))  # noqa: S308


def translated_words() -> Mapping[str, str]:
    """Return what a diagram says, in the language that is active."""
    return {
        "title": _("The steps of saga {name}"),
        "pivot": _("pivot"),
        "uncalled": _("not called yet"),
        "left": _("not called"),
        "started": _("started"),
        "waiting": _("waiting"),
        "done": _("done"),
        "failed": _("failed"),
        "in_doubt": _("in doubt"),
        "kept": _("done, kept by a pivot"),
        "recovering": _("failed, to be recovered"),
        "skipped": _("failed, and skipped"),
        "undo none": _("no compensation"),
        "undo uncalled": _("compensation not called"),
        "undo owed": _("to be compensated"),
        "undo lost": _("its compensation is not in this deployment"),
        "undo started": _("compensation started"),
        "undo waiting": _("compensation is waiting"),
        "undo done": _("compensated"),
        "undo failed": _("compensation failed"),
        "undo in_doubt": _("compensation in doubt"),
    }
