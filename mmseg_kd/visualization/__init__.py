"""Figures: confusion matrices, curves, gradient shares and predictions."""

from mmseg_kd.visualization.prediction_grid import Panel, prediction_grid

__all__ = ['Panel', 'prediction_grid']
