"""Events that senders deliver to a PostgreSQL store, and what each of them led to."""
