"""Its application."""
