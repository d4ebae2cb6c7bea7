"""What changes from one minor release of a framework to the next, tried on all of them."""
