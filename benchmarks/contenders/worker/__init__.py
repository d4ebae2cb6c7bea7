"""Workers that execute a backlog, or what is started while they wait."""
