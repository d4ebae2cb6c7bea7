"""What all jobs share: servers, processes, interleaved rounds, statistics and reports."""
