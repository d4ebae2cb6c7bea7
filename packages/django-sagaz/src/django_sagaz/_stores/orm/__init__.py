"""Every other database, through Django's ORM."""
