"""Pages that ask, and then do: decisions about runs, signals that are sent, webhooks that are replayed."""
