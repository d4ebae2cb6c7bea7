"""What the plugins cost and how fast they are, measured beside their peers in one run; see README.md here."""
