"""Figures: confusion matrices, curves, gradient shares and predictions."""

# ruff: noqa: F401  (the imports are the public names)

from mmseg_kd.visualization.prediction_grid import Panel, prediction_grid
