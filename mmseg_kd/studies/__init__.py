"""Studies: trainings to compare, run by one or many processes, and resumed.

Kept empty, so that a training started by a study imports no more than `tools/train.py` does.
"""
