"""The runtime of one application in one process: opened, started through, drained and closed."""
