"""Event loops, threads and processes: tools that know nothing of sagas."""
