"""The runs of a report: their groups, statistics, differing settings and search points.

A comparison is always one number: the mean over common seeds.
"""
