"""The one migration: the tables of `sagaz_integration_core.contract.schema`."""
