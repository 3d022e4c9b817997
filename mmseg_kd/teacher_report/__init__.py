"""The teacher report: the measured score of a teacher, compared with the baseline.

The config key is `model.teacher.baseline`, the tool `tools/misc/check_teacher.py`.
"""
