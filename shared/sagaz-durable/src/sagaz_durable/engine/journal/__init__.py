"""The journal of one run: what is known of its calls, and the writes that tell more."""
