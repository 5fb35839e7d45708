"""Experiments: one readable script a result, run as `python -m experiments.NAME`."""
