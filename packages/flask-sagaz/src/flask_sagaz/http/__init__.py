"""The routes about sagas in Flask applications."""
