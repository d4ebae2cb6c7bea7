"""A saga that runs within a synchronous request, called by several threads at once."""
