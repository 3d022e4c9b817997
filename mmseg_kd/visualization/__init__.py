"""Figures: confusion matrices, curves, gradient shares and predictions."""

from mmseg_kd.visualization.local_backend import LocalBackend
from mmseg_kd.visualization.prediction_grid import Panel, prediction_grid
from mmseg_kd.visualization.quick_visualizer import QuickSegVisualizer

__all__ = ['LocalBackend', 'Panel', 'QuickSegVisualizer', 'prediction_grid']
