"""Requests that a client may repeat: each has a key, under which it is executed once and its answer is kept.

Their ``repr`` has no answers: logs and error reports have it, and an answer is as secret as a context.
"""

from __future__ import annotations

from dataclasses import field
from typing import Protocol

from sagaz_integration_core.contract.record import record

__all__ = ["KeyClaim", "NewKey", "RequestKeyStore"]


@record
class NewKey:
    """One request that is to be executed under its key.

    Attributes:
        id: Of whose key it is, for which endpoint, and of the key itself: a digest, 64 characters.
        fingerprint: Of the request: a digest, too.
        saga_id: Of the run that it starts, whether it has been started or not; None if it starts none.
        owner: Who executes it, made anew for each request, under a lease; None if it is a caller's transaction that
            holds the key until it ends.
        lease_seconds: For how long it is its owner's.
        keep_seconds: After how long the key is forgotten.
    """

    id: str
    fingerprint: str
    saga_id: str | None
    owner: str | None
    lease_seconds: float
    keep_seconds: float


@record
class KeyClaim:
    """What became of a `NewKey`, or what is known of one.

    Attributes:
        claimed: Whether the request is the caller's to execute; otherwise, the rest says what is there.
        resumed: Of one that is claimed: somebody had it before and gave no answer; its run may be there.
        fingerprint: Of the request that has the key; None if another transaction has it, and has not ended.
        saga_id: Of the run that this request starts.
        answer: What it was answered with; None as long as it is executed.
        seconds: How much of the lease is left of somebody who executes it.
    """

    claimed: bool
    resumed: bool = False
    fingerprint: str | None = None
    saga_id: str | None = None
    answer: str | None = field(default=None, repr=False)
    seconds: float = 0.0


class RequestKeyStore(Protocol):
    """What a store does about the keys of requests; see `SagaStore`.

    Rows are also claimed and answered in callers' own transactions, where a store can join them.
    """

    async def claim_key(self, key: NewKey) -> KeyClaim:
        """Claim a key that is new, has been forgotten, or whose lease has ended without an answer to the same request.

        One that was claimed with this ``owner`` is claimed again. It does not wait for another transaction that has the
        key.
        """
        ...

    async def renew_key(self, key_id: str, owner: str, lease_seconds: float) -> bool:
        """Prolong the lease; False when the key is not this owner's any more."""
        ...

    async def answer_key(self, key_id: str, owner: str, answer: str) -> bool:
        """Keep the answer; False when the key is not this owner's any more. ``answer`` is ASCII."""
        ...

    async def free_key(self, key_id: str, owner: str) -> bool:
        """Give a key back without an answer; False when it is not this owner's any more.

        It is as if it had never been claimed; but if its run is there, the key stays, for anybody to claim.
        """
        ...

    async def find_key(self, key_id: str) -> KeyClaim | None:
        """Return what is known of a key, unless it was forgotten; ``claimed`` is False."""
        ...

    async def prune_keys(self, limit: int) -> int:
        """Delete at most ``limit`` keys whose time is over and that nobody executes; return how many."""
        ...
