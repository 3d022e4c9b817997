"""Runs that belong together: planned, run by one or many processes, resumed, compared, reported.

Kept empty, so that a training started by a study imports no more than `tools/train.py` does.
"""
