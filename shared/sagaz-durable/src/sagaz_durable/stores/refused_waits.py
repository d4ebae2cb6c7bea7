"""What is kept of a wait for a name and key that another wait has."""

from __future__ import annotations

from sagaz_durable.serialization import codec

__all__ = ["refusal"]


def refusal(saga_id: str) -> str:
    """Return the payload of a wait that was refused because this run waits already."""
    return codec.encode({"saga_id": saga_id}, max_bytes=10_000)
