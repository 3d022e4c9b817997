"""Which runs a report compares, and their statistics.

One comparison has one number: the mean over common seeds.
"""
