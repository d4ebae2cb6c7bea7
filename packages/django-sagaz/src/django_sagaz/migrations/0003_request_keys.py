"""The requests that clients may repeat, and what they were answered with."""

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
        schema_editor.execute(f"ALTER TABLE sagaz_idempotency SET ({_QUEUE})")


class Migration(migrations.Migration):
    dependencies = [("django_sagaz", "0002_waits")]

    operations = [
        migrations.CreateModel(
            name="RequestKey",
            fields=[
                ("id", django_sagaz.fields.ExactCharField(max_length=64, primary_key=True, serialize=False)),
                ("fingerprint", django_sagaz.fields.ExactCharField(max_length=64)),
                ("saga_id", django_sagaz.fields.ExactCharField(blank=True, max_length=255, null=True)),
                ("owner", django_sagaz.fields.ExactCharField(blank=True, max_length=120, null=True)),
                ("leased_until", models.DateTimeField(blank=True, null=True)),
                ("answer", models.TextField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                ("expires_at", models.DateTimeField()),
            ],
            options={
                "db_table": "sagaz_idempotency",
                "default_permissions": (),
                "indexes": [
                    models.Index(fields=["expires_at"], name="sagaz_idempotency_expires"),
                    PartialIndex(filled="saga_id", fields=["saga_id"], name="sagaz_idempotency_saga"),
                ],
            },
        ),
        migrations.RunPython(tune, migrations.RunPython.noop, elidable=False),
    ]
