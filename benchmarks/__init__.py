"""Benchmarks: the same network in several libraries, side by side in one run.

Run `python -m benchmarks cpu`. Every peer runs in its own process, the peers take turns within each round, and ratios
are of medians. Before anything is timed, all programs must give the same loss for the same weights and batch, before
and after one step.
"""
