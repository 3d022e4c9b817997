"""Reports on runs, made from the files in their work_dirs.

Imports run from `comparing` to `findings` and `figures` to `sections` to `report.py`.
"""
