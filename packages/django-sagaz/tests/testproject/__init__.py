"""The project that the tests run in."""
