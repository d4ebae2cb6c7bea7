"""What is paid before the first saga: imports, and the start of a worker."""
