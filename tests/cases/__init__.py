"""The layers under test: one file a layer family, each with a list CASES that `tests/layer_table.py` gathers."""
