"""Reports on runs, made from the files in their work_dirs.

Imports go one way: from `report.py` to `sections`, then `findings` and `figures`, then `comparing`.
"""
