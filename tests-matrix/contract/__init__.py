"""The contract: one list of cases, run unchanged against every plugin and every store; begin with ``driver.py``."""
