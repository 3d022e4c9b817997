"""Pictures for people."""

from mmseg_kd.visualization.prediction_grid import Panel, prediction_grid

__all__ = ['Panel', 'prediction_grid']
