"""The Django project whose clients repeat their orders."""
