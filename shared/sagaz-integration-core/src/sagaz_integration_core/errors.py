"""Every error that this project raises on purpose; each names what was given, what was expected and the fix."""

from __future__ import annotations

__all__ = [
    "AlreadyAwaited", "ApprovalDecided", "ApprovalEnded", "ApprovalError", "ApprovalExpired", "ApprovalInvalid",
    "ContextMismatch", "ContextValueError", "DeadlinePassed", "IdempotencyConflict", "InvalidInput", "LeaseLost",
    "Overloaded", "RunChanged", "RunErased", "RunFailed", "RunInProgress", "RunInterrupted", "RunNotFound",
    "RunWaiting", "RuntimeNotOpen", "SagaDefinitionError", "SagaNotRegistered", "SagazError", "SettingsError",
    "SignalConflict", "SignalRefused", "SignalTimeout", "SignatureRefused", "StepError", "StoreNotMigrated",
    "StoreNotReady", "StoreRightsMissing", "StoreUnavailable", "TransactionRequired", "UnstorableValue",
    "UsageError", "WorkerUnfit", "WriteLockHeld", "WriteRefused", "WrongDatabase",
]  # fmt: skip


class SagazError(Exception):
    """Base class of every error that this project raises on purpose."""


class SettingsError(SagazError, ValueError):
    """A setting is unknown, malformed or contradicts another one; raised once, at start-up."""


class InvalidInput(SagazError, ValueError):
    """What a client sent cannot be used: its context, key, id or topic; nothing was recorded, and 422 is the answer.

    The message tells what is wrong and never repeats a value, so that it may be shown to whoever sent it.
    """


class UsageError(SagazError, TypeError):
    """The code that calls this library is wrong, whatever a client sends: to be mended, and no client's fault."""


class ContextValueError(InvalidInput):
    """A saga's context, or a step's result, holds a value that some store would bend or refuse.

    Attributes:
        path: Where the value sits, e.g. ``items[2].price``; empty for the value as a whole.
    """

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(message)
        self.path = path


class ContextMismatch(ContextValueError):
    """A saga was started with a context that is not what its declared type says; whoever gave it is at fault.

    Attributes:
        found: All that does not fit: where it sits, as keys and positions, and what was expected; never the values.
    """

    def __init__(self, message: str, path: str = "", found: tuple[tuple[tuple[str | int, ...], str], ...] = ()) -> None:
        super().__init__(message, path)
        self.found = found


class SagaDefinitionError(SagazError, TypeError):
    """A saga class cannot be run as it is written; raised when it is registered."""


class SagaNotRegistered(SagazError, LookupError):
    """A saga's name or class is not registered in this deployment."""


class RuntimeNotOpen(SagazError, RuntimeError):
    """No runtime is open for this application, in this process."""


class IdempotencyConflict(InvalidInput):
    """An idempotency key was used before, with another payload or for another owner."""


class RunErased(InvalidInput):
    """The run that an idempotency key names has ended, and what it was given and has returned was erased.

    Attributes:
        saga_id: The run's.
        status: As what it had ended when it was erased.
    """

    def __init__(self, message: str, saga_id: str, status: str) -> None:
        super().__init__(message)
        self.saga_id = saga_id
        self.status = status

    def __reduce__(self) -> tuple[type[RunErased], tuple[str, str, str]]:
        return RunErased, (str(self), self.saga_id, self.status)


class RunChanged(SagazError):
    """A run has not the version (any more) that a decision about it was taken for; nothing was changed.

    Attributes:
        saga_id: The run's.
        expected: The version that was given.
        found: The version that it has now.
    """

    def __init__(self, message: str, saga_id: str, expected: int, found: int) -> None:
        super().__init__(message)
        self.saga_id = saga_id
        self.expected = expected
        self.found = found

    def __reduce__(self) -> tuple[type[RunChanged], tuple[str, str, int, int]]:
        return RunChanged, (str(self), self.saga_id, self.expected, self.found)


class RunInProgress(SagazError):
    """The run that an idempotency key names has not finished yet."""


class RunInterrupted(SagazError):
    """This process stopped executing a run before its end; a worker resumes it.

    Raised to whoever waits for an inline run when the store cannot be written, the lease is lost or the process
    drains. Nothing is compensated, and nothing is lost.
    """


class RunWaiting(SagazError):
    """The run waits for a signal or a time, and holds nothing meanwhile; it goes on by itself when that comes.

    Raised to whoever waits for an inline run; 202 with the run's address is the answer.

    Attributes:
        saga_id: The run's.
        waits_for: What it waits for, in words.
    """

    def __init__(self, message: str, saga_id: str, waits_for: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.saga_id = saga_id
        self.waits_for = waits_for

    def __reduce__(self) -> tuple[type[RunWaiting], tuple[str, str, tuple[str, ...]]]:
        return RunWaiting, (str(self), self.saga_id, self.waits_for)


class RunFailed(SagazError):
    """A run has ended without success: earlier or elsewhere, so that its step's own exception is not known here."""


class DeadlinePassed(RunFailed):
    """The run's deadline passed before its end, so that it was compensated."""


class RunNotFound(SagazError, LookupError):
    """There is no run with this saga_id in the store."""


class StoreUnavailable(SagazError):
    """The store cannot be opened, read or written now; nothing was recorded."""


class StoreNotReady(StoreUnavailable):
    """The store answers, and lacks what only a person can give it; trying again helps when that was given."""


class StoreNotMigrated(StoreNotReady):
    """The store's tables are missing or older than this release needs."""


class StoreRightsMissing(StoreNotReady):
    """The store's user has not the rights that are needed; the message names them."""


class UnstorableValue(InvalidInput):
    """The store's database can never store one of the values that it was given; nothing was recorded."""


class WriteRefused(SagazError):
    """The store's database refused a statement, and its connection is fine; nothing was recorded."""


class WriteLockHeld(StoreUnavailable):
    """A transaction of this very process holds SQLite's write lock, so that waiting could never end."""


class Overloaded(SagazError):
    """More runs wait for workers than ``max_due`` allows; nothing was recorded, and 503 is the answer.

    Attributes:
        retry_after: Seconds after which it may be tried again; the value of a ``Retry-After`` header.
    """

    retry_after = 5


class TransactionRequired(SagazError):
    """What is recorded was to be part of a transaction, and the connection is in none."""


class WrongDatabase(SagazError):
    """What is recorded was to be part of a transaction in another database than the store's."""


class LeaseLost(SagazError):
    """Another process owns this run now; the write was refused and nothing of it was recorded."""


class SignalTimeout(SagazError):
    """The signal that a step waited for did not come in time; not a `TimeoutError`, as calls of services raise."""


class AlreadyAwaited(SagazError):
    """Another wait is for a signal of this name and key: two cannot be, for only one could get it."""


class SignalConflict(InvalidInput):
    """A signal of this name, address and signal_id was sent before, with another payload; nothing was recorded."""


class SignalRefused(SagazError):
    """The run that a signal is addressed to has ended; nothing was recorded."""


class SignatureRefused(SagazError):
    """A webhook is not from whom it says, or from another time; 400 is the answer, without the reason.

    The message is for the log: it names headers and numbers, and repeats nothing that was sent and no secret.
    """


class ApprovalError(InvalidInput):
    """A token for an approval decides nothing, or no more; nothing was recorded."""


class ApprovalInvalid(ApprovalError):
    """What was sent is no token for an approval that this application has signed."""


class ApprovalExpired(ApprovalError):
    """The token's time is over."""


class ApprovalDecided(ApprovalError):
    """It was decided before, and otherwise, or how is not known any more; the same once more is no error."""


class ApprovalEnded(ApprovalError):
    """The run that waited for the approval has ended without it."""


class StepError(SagazError):
    """A step or a compensation failed in an earlier attempt; the journal keeps only its text."""


class WorkerUnfit(SagazError):
    """A worker command has stopped because its process can execute no more runs; a supervisor starts another one."""
