"""A saga's steps and compensations as a picture, laid out and written on the server, for admin pages and over HTTP."""
