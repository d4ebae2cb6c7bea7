"""Events that senders deliver to an SQLite store, and what each of them led to."""
