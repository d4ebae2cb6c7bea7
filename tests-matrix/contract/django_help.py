"""Prints the help of all commands of Django, as JSON, in a process whose settings are its own."""

from __future__ import annotations

import json
import sys

import django
from django.conf import settings
from django.core.management import find_commands, load_command_class

if __name__ == "__main__":
    databases = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
    settings.configure(INSTALLED_APPS=["django_sagaz"], DATABASES=databases)
    django.setup()
    import django_sagaz.management as management

    names = [name for name in find_commands(management.__path__[0]) if name.startswith("sagaz_")]
    made = {name.removeprefix("sagaz_"): load_command_class("django_sagaz", name) for name in names}
    helps = {name: command.create_parser("manage.py", name).format_help() for name, command in made.items()}
    sys.stdout.write(json.dumps(helps))
    loaded = [module for module in ("click", "sagaz_durable.cli.click_commands") if module in sys.modules]
    sys.exit(f"Django has loaded {loaded}." if loaded else 0)
