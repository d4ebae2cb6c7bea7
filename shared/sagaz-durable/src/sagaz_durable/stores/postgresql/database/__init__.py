"""The server: connections, sessions, rights, migrations and notifications."""
