"""What executes one run from its journal."""
