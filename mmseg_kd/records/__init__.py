"""What a run leaves behind, read and appended to: scalars, JSON lines, run and study records.

Nothing here runs code that a file names.
"""
