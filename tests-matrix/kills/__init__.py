"""Real servers and workers, killed by SIGKILL at every point of a saga, and what the ledger shows afterwards."""
