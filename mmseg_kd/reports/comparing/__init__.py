"""The runs of a report: their groups, statistics, differing settings and search points.

Every comparison is the mean difference over the common seeds.
"""
