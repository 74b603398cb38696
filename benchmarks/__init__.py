"""Measurements: each module prints a table and, with ``--json``, writes the same as JSON."""
