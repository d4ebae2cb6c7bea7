"""What takes up runs: workers, and the background runs of web processes."""
