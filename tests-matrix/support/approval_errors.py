"""That a plugin hands out what can be wrong with a token, each as what a client got wrong."""

from __future__ import annotations

from types import ModuleType

__all__ = ["check_errors"]


def check_errors(plugin: ModuleType) -> None:
    """Check the errors of approvals that a plugin hands out."""
    assert issubclass(plugin.ApprovalError, plugin.InvalidInput)
    for name in ("ApprovalInvalid", "ApprovalExpired", "ApprovalDecided", "ApprovalEnded"):
        assert issubclass(getattr(plugin, name), plugin.ApprovalError), name
