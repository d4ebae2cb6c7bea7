"""Celery's own workers, on a Redis of the test's own, under kills, with messages that are dropped and repeated.

Not called celery: this folder's parent is on the path, in front of the real one.
"""
