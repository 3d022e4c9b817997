"""Readers of the files that a run leaves behind: scalars, JSON lines, logs, configs, studies.

None of them runs code from a file.
"""
