"""The parts of the SQLite store."""
