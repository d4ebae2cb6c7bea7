"""Sagas over HTTP for any web framework: start, watch, decide; no framework is known here."""
