"""The models of runs, of what is kept with them, and of the processes that execute them; see `django_sagaz.models`."""

from __future__ import annotations

from django.db import models
from django.utils.translation import gettext_lazy as _

from django_sagaz.fields import ExactCharField
from django_sagaz.models.indexes import PartialIndex
from django_sagaz.models.waits import Phase
from sagaz_integration_core.error_text import visible

__all__ = ["Attempt", "AuditEntry", "OutboxEvent", "Run", "Step", "StoreInfo", "WorkerProcess"]


class Run(models.Model):
    """One run of a saga."""

    class Status(models.TextChoices):
        """sagaz's ``SagaStatus``, and ``waiting``; ``failed`` means that manual intervention is needed."""

        PENDING = "pending", _("pending")
        EXECUTING = "executing", _("executing")
        COMPENSATING = "compensating", _("compensating")
        WAITING = "waiting", _("waiting")
        COMPLETED = "completed", _("completed")
        ROLLED_BACK = "rolled_back", _("rolled back")
        FAILED = "failed", _("failed")

    class Direction(models.TextChoices):
        """Whether its steps are called, or compensated."""

        FORWARD = "forward", _("forward")
        BACK = "back", _("back")

    saga_id = ExactCharField(max_length=255, primary_key=True)
    saga_name = ExactCharField(max_length=200)
    status = ExactCharField(max_length=20, choices=Status.choices)
    context = models.JSONField()
    error = models.TextField(null=True, blank=True)
    correlation_id = models.CharField(max_length=255, null=True, blank=True)
    attempt = models.IntegerField(db_default=0)
    failures = models.IntegerField(db_default=0)
    lease_owner = ExactCharField(max_length=120, null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    # When it may be claimed: for a leased run the end of its lease, NULL for never (again).
    available_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()
    finished_at = models.DateTimeField(null=True, blank=True)
    fingerprint = models.CharField(max_length=64)
    direction = ExactCharField(max_length=10, choices=Direction.choices, db_default="forward")
    # Grows by every change but a renewal.
    version = models.IntegerField(db_default=1)
    leased_at = models.DateTimeField(null=True, blank=True)
    suspicions = models.IntegerField(db_default=0)
    alone = models.BooleanField(db_default=False)
    deadline = models.DateTimeField(null=True, blank=True)
    # Whom it belongs to, as the application says: a user, a tenant.
    owner = ExactCharField(max_length=255, null=True, blank=True)

    class Meta:
        db_table = "sagaz_run"
        verbose_name = _("run")
        verbose_name_plural = _("runs")
        # Nobody adds, edits or deletes one by hand.
        default_permissions = ("view",)
        permissions = [
            ("retry_run", "Can retry run"),
            ("cancel_run", "Can cancel run"),
            ("resolve_run", "Can resolve run"),
            ("signal_run", "Can send signal to run"),
            ("run_now_run", "Can bring run forward"),
        ]
        indexes = [
            PartialIndex(filled="available_at", fields=["saga_name", "alone", "available_at"], name="sagaz_run_due"),
            models.Index(fields=["status", "created_at", "saga_id"], name="sagaz_run_status"),
            models.Index(fields=["created_at", "saga_id"], name="sagaz_run_created"),
            PartialIndex(filled="correlation_id", fields=["correlation_id"], name="sagaz_run_correlation"),
            PartialIndex(filled="finished_at", fields=["finished_at"], name="sagaz_run_finished"),
            PartialIndex(filled="deadline", fields=["deadline"], name="sagaz_run_deadline"),
        ]

    def __str__(self) -> str:
        return visible(f"{self.saga_name} {self.saga_id}")


class Step(models.Model):
    """One journal entry: a step, or its compensation, of one run."""

    class Status(models.TextChoices):
        """``in_doubt``: it ended without telling whether its effect took place."""

        STARTED = "started", _("started")
        WAITING = "waiting", _("waiting")
        DONE = "done", _("done")
        FAILED = "failed", _("failed")
        IN_DOUBT = "in_doubt", _("in doubt")

    pk = models.CompositePrimaryKey("saga_id", "step", "phase")
    # No foreign key: each insert would lock and check a row that its writer has locked.
    saga_id = ExactCharField(max_length=255)
    step = ExactCharField(max_length=200)
    phase = ExactCharField(max_length=4, choices=Phase.choices)
    status = ExactCharField(max_length=10, choices=Status.choices)
    result = models.JSONField(null=True, blank=True)
    error = models.TextField(null=True, blank=True)
    attempt = models.IntegerField()
    started_at = models.DateTimeField(null=True, blank=True)
    finished_at = models.DateTimeField(null=True, blank=True)
    # Whether the step had a compensation when it was called.
    compensated = models.BooleanField(db_default=False)

    class Meta:
        db_table = "sagaz_step"
        default_permissions = ()

    def __str__(self) -> str:
        return visible(f"{self.step} ({self.phase}) of {self.saga_id}")


class Attempt(models.Model):
    """How one attempt at a run ended, unless the run was completed or rolled back; it is deleted with the run."""

    class Outcome(models.TextChoices):
        """``lost``: its lease ended, although its process lived. A released one is not counted as a failure."""

        DIED = "died", _("its process died")
        LOST = "lost", _("its lease ended")
        RELEASED = "released", _("given back")
        HALTED = "halted", _("given back after a failure")
        FAILED = "failed", _("failed")
        DECIDED = "decided", _("ended by a decision")

    pk = models.CompositePrimaryKey("saga_id", "attempt")
    saga_id = ExactCharField(max_length=255)
    attempt = models.IntegerField()
    owner = ExactCharField(max_length=120)
    began_at = models.DateTimeField()
    ended_at = models.DateTimeField()
    outcome = ExactCharField(max_length=10, choices=Outcome.choices)
    detail = models.TextField(null=True, blank=True)
    under_way = models.TextField(null=True, blank=True)

    class Meta:
        db_table = "sagaz_attempt"
        default_permissions = ()
        indexes = [models.Index(fields=["owner"], name="sagaz_attempt_owner")]

    def __str__(self) -> str:
        return f"{self.attempt} of {self.saga_id}: {self.outcome}"


class OutboxEvent(models.Model):
    """One event that waits for a broker, was sent, or was set aside."""

    class Status(models.TextChoices):
        """``dead``: the broker refused it too often."""

        PENDING = "pending", _("pending")
        SENT = "sent", _("sent")
        DEAD = "dead", _("set aside")

    id = models.BigAutoField(primary_key=True)
    event_id = ExactCharField(max_length=255, unique=True)
    saga_id = ExactCharField(max_length=255)
    topic = models.CharField(max_length=450)
    payload = models.JSONField()
    headers = models.JSONField()
    status = ExactCharField(max_length=10, choices=Status.choices)
    attempts = models.IntegerField(db_default=0)
    error = models.TextField(null=True, blank=True)
    available_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "sagaz_outbox"
        verbose_name = _("event")
        verbose_name_plural = _("events")
        default_permissions = ("view",)
        permissions = [("retry_outboxevent", "Can retry event")]
        indexes = [
            models.Index(fields=["status", "available_at", "id"], name="sagaz_outbox_due"),
            models.Index(fields=["saga_id", "status", "id"], name="sagaz_outbox_saga"),
            PartialIndex(filled="sent_at", fields=["sent_at"], name="sagaz_outbox_sent"),
        ]

    def __str__(self) -> str:
        return visible(f"{self.topic} {self.event_id}")


class AuditEntry(models.Model):
    """What a person decided about a run, and why; it is deleted with the run."""

    id = models.BigAutoField(primary_key=True)
    saga_id = ExactCharField(max_length=255)
    action = models.CharField(max_length=20)
    actor = models.CharField(max_length=255)
    reason = models.TextField(blank=True)
    found = models.CharField(max_length=20)
    status = models.CharField(max_length=20)
    at = models.DateTimeField()

    class Meta:
        db_table = "sagaz_audit"
        default_permissions = ()
        indexes = [models.Index(fields=["saga_id", "id"], name="sagaz_audit_saga")]

    def __str__(self) -> str:
        return visible(f"{self.action} of {self.saga_id} by {self.actor}")


class WorkerProcess(models.Model):
    """A process that lives until a time, unless it says so again, and the sagas that it knows."""

    class Kind(models.TextChoices):
        """``web``: it serves requests; ``sweep``: it is one of Celery's."""

        WORKER = "worker", _("worker")
        WEB = "web", _("web server")
        SWEEP = "sweep", _("Celery")

    name = ExactCharField(max_length=120, primary_key=True)
    kind = ExactCharField(max_length=10, choices=Kind.choices)
    sagas = models.JSONField()
    alive_until = models.DateTimeField()

    class Meta:
        db_table = "sagaz_worker"
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"


class StoreInfo(models.Model):
    """What the store knows of itself: the version of its tables, and its random id."""

    key = ExactCharField(max_length=200, primary_key=True)
    value = models.TextField()

    class Meta:
        db_table = "sagaz_meta"
        default_permissions = ()

    def __str__(self) -> str:
        return self.key
