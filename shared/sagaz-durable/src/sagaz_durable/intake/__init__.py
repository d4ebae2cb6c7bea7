"""Events that senders deliver: which sagas want them, and what becomes of them; no web framework is known here."""
