"""How a Django process executes runs, and on which threads and event loops."""
