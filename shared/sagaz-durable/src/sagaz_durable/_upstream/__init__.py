"""The only place that touches sagaz's internals or works around its quirks: a sagaz release changes this folder."""
