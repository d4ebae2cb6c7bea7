"""The Django project of the storm."""
