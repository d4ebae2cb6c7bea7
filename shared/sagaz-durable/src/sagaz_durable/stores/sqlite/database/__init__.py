"""The file: its connections, their threads and locks, and its tables."""
