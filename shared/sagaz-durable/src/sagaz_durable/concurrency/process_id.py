"""Which process this is; its id is known without a system call: a run asks a dozen times, and some kernels are slow."""

from __future__ import annotations

import os
import secrets
import socket

__all__ = ["current_pid", "unique_name"]

_pid = os.getpid()


def current_pid() -> int:
    """Return this process's id, also in a fork."""
    return _pid


def unique_name() -> str:
    """Return a name for something of this process that no other process gives, on any machine; another each time."""
    return f"{socket.gethostname()[:60]}:{_pid}:{secrets.token_hex(4)}"


def _forked() -> None:
    global _pid
    _pid = os.getpid()


os.register_at_fork(after_in_child=_forked)
