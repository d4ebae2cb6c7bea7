"""Events of runs and of the application: made, and published by the relay."""
