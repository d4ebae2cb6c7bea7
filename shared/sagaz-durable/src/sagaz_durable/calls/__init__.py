"""Calling what users write: a step or a compensation, its tries, its waits, and the hooks around it."""
