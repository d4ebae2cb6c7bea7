"""What is journaled of steps that fail behind a pivot; nothing changes in the database."""

from django.db import migrations

import django_sagaz.fields

_PHASES = [("do", "step"), ("redo", "recovery"), ("undo", "compensation")]


class Migration(migrations.Migration):
    """Entries of a third phase."""

    dependencies = [("django_sagaz", "0004_webhooks")]

    operations = [
        migrations.AlterField("step", "phase", django_sagaz.fields.ExactCharField(choices=_PHASES, max_length=4)),
        migrations.AlterField("wait", "phase", django_sagaz.fields.ExactCharField(choices=_PHASES, max_length=4)),
        migrations.AlterField(
            "signal",
            "taken_phase",
            django_sagaz.fields.ExactCharField(blank=True, choices=_PHASES, max_length=4, null=True),
        ),
    ]
