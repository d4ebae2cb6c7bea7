"""The events that senders deliver, and what each of them led to."""

from typing import Any

from django.db import migrations, models

import django_sagaz.fields
from django_sagaz.models.indexes import PartialIndex

# Rows die fast here, too: see the first migration.
_QUEUE = (
    "fillfactor = 70, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 500, "
    "autovacuum_vacuum_insert_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05, "
    "autovacuum_vacuum_cost_delay = 0"
)


def tune(apps: Any, schema_editor: Any) -> None:
    """Tell PostgreSQL that this table is a queue."""
    if schema_editor.connection.vendor == "postgresql":
        schema_editor.execute(f"ALTER TABLE sagaz_webhook SET ({_QUEUE})")


class Migration(migrations.Migration):
    dependencies = [("django_sagaz", "0003_request_keys")]

    operations = [
        migrations.CreateModel(
            name="Webhook",
            fields=[
                ("id", django_sagaz.fields.ExactCharField(max_length=64, primary_key=True, serialize=False)),
                ("source", django_sagaz.fields.ExactCharField(max_length=100)),
                ("delivery_id", django_sagaz.fields.ExactCharField(max_length=200)),
                ("handler", django_sagaz.fields.ExactCharField(blank=True, max_length=400)),
                ("event_type", models.CharField(blank=True, max_length=200, null=True)),
                ("received_at", models.DateTimeField()),
                (
                    "outcome",
                    django_sagaz.fields.ExactCharField(
                        choices=[
                            ("started", "started a run"),
                            ("resumed", "a run waited for it"),
                            ("early", "kept until a run waits for it"),
                            ("ignored", "not for us"),
                            ("quarantined", "quarantined"),
                            ("delayed", "waits for the limit of its trigger"),
                        ],
                        max_length=11,
                    ),
                ),
                ("reason", models.TextField(blank=True, null=True)),
                ("saga_id", django_sagaz.fields.ExactCharField(blank=True, max_length=255, null=True)),
                ("signal", django_sagaz.fields.ExactCharField(blank=True, max_length=200, null=True)),
                ("key", django_sagaz.fields.ExactCharField(blank=True, max_length=200, null=True)),
                ("fingerprint", django_sagaz.fields.ExactCharField(blank=True, max_length=64)),
                ("body", models.TextField(blank=True, null=True)),
                ("correlation_id", models.CharField(blank=True, max_length=255, null=True)),
            ],
            options={
                "db_table": "sagaz_webhook",
                "verbose_name": "webhook",
                "verbose_name_plural": "webhooks",
                "default_permissions": ("view",),
                "permissions": [("replay_webhook", "Can replay webhook"), ("dismiss_webhook", "Can dismiss webhook")],
                "indexes": [
                    models.Index(fields=["source", "delivery_id"], name="sagaz_webhook_delivery"),
                    PartialIndex(filled="signal", fields=["delivery_id", "signal"], name="sagaz_webhook_signal"),
                    PartialIndex(filled="saga_id", fields=["saga_id"], name="sagaz_webhook_saga"),
                    models.Index(fields=["received_at", "id"], name="sagaz_webhook_received"),
                    models.Index(fields=["outcome", "received_at"], name="sagaz_webhook_outcome"),
                ],
            },
        ),
        migrations.RunPython(tune, migrations.RunPython.noop, elidable=False),
    ]
