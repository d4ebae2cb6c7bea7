"""What contract, kills and storm share; nothing here knows a framework."""
