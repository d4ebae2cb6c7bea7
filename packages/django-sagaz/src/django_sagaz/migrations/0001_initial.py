"""The tables, as `sagaz_integration_core.contract.schema` has them."""

import uuid
from typing import Any

from django.db import migrations, models

import django_sagaz.fields
from django_sagaz.migrations._plain_sql import indexed, tuned
from django_sagaz.models.indexes import PartialIndex


def identify(apps: Any, schema_editor: Any) -> None:
    """Give the store its id, and say what version its tables have, so that the engine can use them too."""
    info = apps.get_model("django_sagaz", "StoreInfo").objects.using(schema_editor.connection.alias)
    values = {"schema_version": "1", "schema_compatible": "1", "store_id": uuid.uuid4().hex}
    for key, value in values.items():
        info.get_or_create(key=key, defaults={"value": value})


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="Step",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "saga_id", "step", "phase", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("saga_id", django_sagaz.fields.ExactCharField(max_length=255)),
                ("step", django_sagaz.fields.ExactCharField(max_length=200)),
                (
                    "phase",
                    django_sagaz.fields.ExactCharField(
                        choices=[("do", "step"), ("undo", "compensation")], max_length=4
                    ),
                ),
                (
                    "status",
                    django_sagaz.fields.ExactCharField(
                        choices=[
                            ("started", "started"),
                            ("waiting", "waiting"),
                            ("done", "done"),
                            ("failed", "failed"),
                            ("in_doubt", "in doubt"),
                        ],
                        max_length=10,
                    ),
                ),
                ("result", models.JSONField(blank=True, null=True)),
                ("error", models.TextField(blank=True, null=True)),
                ("attempt", models.IntegerField()),
                ("started_at", models.DateTimeField(blank=True, null=True)),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("compensated", models.BooleanField(db_default=False)),
            ],
            options={
                "db_table": "sagaz_step",
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="Attempt",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "saga_id", "attempt", blank=True, editable=False, primary_key=True, serialize=False
                    ),
                ),
                ("saga_id", django_sagaz.fields.ExactCharField(max_length=255)),
                ("attempt", models.IntegerField()),
                ("owner", django_sagaz.fields.ExactCharField(max_length=120)),
                ("began_at", models.DateTimeField()),
                ("ended_at", models.DateTimeField()),
                (
                    "outcome",
                    django_sagaz.fields.ExactCharField(
                        choices=[
                            ("died", "its process died"),
                            ("lost", "its lease ended"),
                            ("released", "given back"),
                            ("halted", "given back after a failure"),
                            ("failed", "failed"),
                            ("decided", "ended by a decision"),
                        ],
                        max_length=10,
                    ),
                ),
                ("detail", models.TextField(blank=True, null=True)),
                ("under_way", models.TextField(blank=True, null=True)),
            ],
            options={
                "db_table": "sagaz_attempt",
                "default_permissions": (),
                "indexes": [models.Index(fields=["owner"], name="sagaz_attempt_owner")],
            },
        ),
        migrations.CreateModel(
            name="WorkerProcess",
            fields=[
                ("name", django_sagaz.fields.ExactCharField(max_length=120, primary_key=True, serialize=False)),
                (
                    "kind",
                    django_sagaz.fields.ExactCharField(
                        choices=[("worker", "worker"), ("web", "web server"), ("sweep", "Celery")], max_length=10
                    ),
                ),
                ("sagas", models.JSONField()),
                ("alive_until", models.DateTimeField()),
            ],
            options={
                "db_table": "sagaz_worker",
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="AuditEntry",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("saga_id", django_sagaz.fields.ExactCharField(max_length=255)),
                ("action", models.CharField(max_length=20)),
                ("actor", models.CharField(max_length=255)),
                ("reason", models.TextField(blank=True)),
                ("found", models.CharField(max_length=20)),
                ("status", models.CharField(max_length=20)),
                ("at", models.DateTimeField()),
            ],
            options={
                "db_table": "sagaz_audit",
                "default_permissions": (),
                "indexes": [models.Index(fields=["saga_id", "id"], name="sagaz_audit_saga")],
            },
        ),
        migrations.CreateModel(
            name="StoreInfo",
            fields=[
                ("key", django_sagaz.fields.ExactCharField(max_length=200, primary_key=True, serialize=False)),
                ("value", models.TextField()),
            ],
            options={
                "db_table": "sagaz_meta",
                "default_permissions": (),
            },
        ),
        migrations.CreateModel(
            name="OutboxEvent",
            fields=[
                ("id", models.BigAutoField(primary_key=True, serialize=False)),
                ("event_id", django_sagaz.fields.ExactCharField(max_length=255, unique=True)),
                ("saga_id", django_sagaz.fields.ExactCharField(max_length=255)),
                ("topic", models.CharField(max_length=450)),
                ("payload", models.JSONField()),
                ("headers", models.JSONField()),
                (
                    "status",
                    django_sagaz.fields.ExactCharField(
                        choices=[("pending", "pending"), ("sent", "sent"), ("dead", "set aside")], max_length=10
                    ),
                ),
                ("attempts", models.IntegerField(db_default=0)),
                ("error", models.TextField(blank=True, null=True)),
                ("available_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("sent_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name": "event",
                "verbose_name_plural": "events",
                "db_table": "sagaz_outbox",
                "permissions": [("retry_outboxevent", "Can retry event")],
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["status", "available_at", "id"], name="sagaz_outbox_due"),
                    models.Index(fields=["saga_id", "status", "id"], name="sagaz_outbox_saga"),
                    PartialIndex(filled="sent_at", fields=["sent_at"], name="sagaz_outbox_sent"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Run",
            fields=[
                ("saga_id", django_sagaz.fields.ExactCharField(max_length=255, primary_key=True, serialize=False)),
                ("saga_name", django_sagaz.fields.ExactCharField(max_length=200)),
                (
                    "status",
                    django_sagaz.fields.ExactCharField(
                        choices=[
                            ("pending", "pending"),
                            ("executing", "executing"),
                            ("compensating", "compensating"),
                            ("waiting", "waiting"),
                            ("completed", "completed"),
                            ("rolled_back", "rolled back"),
                            ("failed", "failed"),
                        ],
                        max_length=20,
                    ),
                ),
                ("context", models.JSONField()),
                ("error", models.TextField(blank=True, null=True)),
                ("correlation_id", models.CharField(blank=True, max_length=255, null=True)),
                ("attempt", models.IntegerField(db_default=0)),
                ("failures", models.IntegerField(db_default=0)),
                ("lease_owner", django_sagaz.fields.ExactCharField(blank=True, max_length=120, null=True)),
                ("lease_expires_at", models.DateTimeField(blank=True, null=True)),
                ("available_at", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("updated_at", models.DateTimeField()),
                ("finished_at", models.DateTimeField(blank=True, null=True)),
                ("fingerprint", models.CharField(max_length=64)),
                (
                    "direction",
                    django_sagaz.fields.ExactCharField(
                        choices=[("forward", "forward"), ("back", "back")], db_default="forward", max_length=10
                    ),
                ),
                ("version", models.IntegerField(db_default=1)),
                ("leased_at", models.DateTimeField(blank=True, null=True)),
                ("suspicions", models.IntegerField(db_default=0)),
                ("alone", models.BooleanField(db_default=False)),
                ("deadline", models.DateTimeField(blank=True, null=True)),
                ("owner", django_sagaz.fields.ExactCharField(blank=True, max_length=255, null=True)),
            ],
            options={
                "verbose_name": "run",
                "verbose_name_plural": "runs",
                "db_table": "sagaz_run",
                "permissions": [
                    ("retry_run", "Can retry run"),
                    ("cancel_run", "Can cancel run"),
                    ("resolve_run", "Can resolve run"),
                    ("signal_run", "Can send signal to run"),
                    ("run_now_run", "Can bring run forward"),
                ],
                "default_permissions": ("view",),
                "indexes": [
                    PartialIndex(
                        filled="available_at", fields=["saga_name", "alone", "available_at"], name="sagaz_run_due"
                    ),
                    models.Index(fields=["status", "created_at", "saga_id"], name="sagaz_run_status"),
                    models.Index(fields=["created_at", "saga_id"], name="sagaz_run_created"),
                    PartialIndex(filled="correlation_id", fields=["correlation_id"], name="sagaz_run_correlation"),
                    PartialIndex(filled="finished_at", fields=["finished_at"], name="sagaz_run_finished"),
                    PartialIndex(filled="deadline", fields=["deadline"], name="sagaz_run_deadline"),
                ],
            },
        ),
        tuned("sagaz_run", "sagaz_step", "sagaz_outbox"),
        indexed(),
        migrations.RunPython(identify, migrations.RunPython.noop, elidable=False),
    ]
