"""Where runs are kept: in memory, in SQLite, in PostgreSQL; `factory` chooses by the storage URL."""
