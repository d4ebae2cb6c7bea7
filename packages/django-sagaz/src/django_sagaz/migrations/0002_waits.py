"""What runs wait for, and the signals that they are sent."""

from django.db import migrations, models

import django_sagaz.fields
from django_sagaz.migrations._plain_sql import tuned
from django_sagaz.models.indexes import PartialIndex


class Migration(migrations.Migration):
    dependencies = [("django_sagaz", "0001_initial")]

    operations = [
        migrations.CreateModel(
            name="Signal",
            fields=[
                ("id", django_sagaz.fields.ExactCharField(max_length=36, primary_key=True, serialize=False)),
                ("name", django_sagaz.fields.ExactCharField(max_length=200)),
                ("saga_id", django_sagaz.fields.ExactCharField(blank=True, max_length=255, null=True)),
                ("key", django_sagaz.fields.ExactCharField(blank=True, max_length=200, null=True)),
                ("signal_id", django_sagaz.fields.ExactCharField(blank=True, max_length=200)),
                ("payload", models.JSONField(blank=True, null=True)),
                ("fingerprint", models.CharField(max_length=64)),
                ("created_at", models.DateTimeField()),
                ("taken_at", models.DateTimeField(blank=True, null=True)),
                ("taken_by", django_sagaz.fields.ExactCharField(blank=True, max_length=255, null=True)),
                ("taken_step", django_sagaz.fields.ExactCharField(blank=True, max_length=200, null=True)),
                (
                    "taken_phase",
                    django_sagaz.fields.ExactCharField(
                        blank=True, choices=[("do", "step"), ("undo", "compensation")], max_length=4, null=True
                    ),
                ),
                ("seen_at", models.DateTimeField(blank=True, null=True)),
            ],
            options={
                "verbose_name": "signal",
                "verbose_name_plural": "signals",
                "db_table": "sagaz_signal",
                "default_permissions": ("view",),
                "indexes": [
                    models.Index(fields=["taken_at", "seen_at"], name="sagaz_signal_fresh"),
                    PartialIndex(filled="saga_id", fields=["saga_id", "name"], name="sagaz_signal_run"),
                    PartialIndex(filled="key", fields=["key", "name"], name="sagaz_signal_key"),
                    models.Index(fields=["taken_at", "created_at", "id"], name="sagaz_signal_created"),
                    PartialIndex(filled="taken_by", fields=["taken_by"], name="sagaz_signal_taken_by"),
                ],
            },
        ),
        migrations.CreateModel(
            name="Wait",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "saga_id",
                        "step",
                        "phase",
                        "name",
                        "n",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
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
                ("name", django_sagaz.fields.ExactCharField(blank=True, max_length=200)),
                ("n", models.IntegerField()),
                ("key", django_sagaz.fields.ExactCharField(blank=True, max_length=200, null=True)),
                ("until", models.DateTimeField(blank=True, null=True)),
                ("created_at", models.DateTimeField()),
                (
                    "outcome",
                    django_sagaz.fields.ExactCharField(
                        blank=True,
                        choices=[("signal", "signal"), ("timeout", "time over"), ("refused", "refused")],
                        max_length=10,
                        null=True,
                    ),
                ),
                ("attempt", models.IntegerField(blank=True, null=True)),
                ("payload", models.JSONField(blank=True, null=True)),
            ],
            options={
                "db_table": "sagaz_wait",
                "default_permissions": (),
                "constraints": [models.UniqueConstraint(fields=("name", "key"), name="sagaz_wait_key")],
            },
        ),
        tuned("sagaz_wait", "sagaz_signal"),
    ]
