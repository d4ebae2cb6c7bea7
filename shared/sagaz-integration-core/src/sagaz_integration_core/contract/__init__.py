"""What passes between an engine, a store and a plugin."""
