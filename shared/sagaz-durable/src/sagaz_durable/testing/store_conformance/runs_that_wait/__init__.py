"""Runs that wait: for signals, times and people."""
