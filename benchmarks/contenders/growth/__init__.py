"""What becomes of speed, memory and bytes as time goes by."""
