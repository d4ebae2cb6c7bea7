"""What is compared: a folder for each job, a small module for each contender."""
