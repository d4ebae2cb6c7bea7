"""One call, of all processes, that stands still until its process is killed.

KILLS_HELD names the file that has the process's id by then.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["is_held"]


def is_held() -> bool:
    """Whether this is the call that is to stand still: the first one."""
    held = Path(os.environ["KILLS_HELD"])
    own = held.with_name(f"{held.name}-{os.getpid()}")
    own.write_text(str(os.getpid()))
    try:
        # It is there with all that it says, or not at all.
        held.hardlink_to(own)
    except FileExistsError:
        return False
    return True
