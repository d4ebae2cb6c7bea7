"""Webhooks before anything is recorded: who signed them, and what they say; nothing here knows a store or a saga."""
