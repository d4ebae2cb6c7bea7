"""Runs in an SQLite file."""
