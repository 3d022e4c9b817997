"""Whether a teacher is worth listening to: its measured score, next to the baseline's.

The config key is `model.teacher.baseline`, the tool `tools/misc/check_teacher.py`.
"""
