"""Figures: confusion matrices, curves, gradient shares and predictions."""

from mmseg_kd.visualization.prediction_grid import Panel, prediction_grid
from mmseg_kd.visualization.visualizer import LocalBackend, QuickSegVisualizer

__all__ = ['LocalBackend', 'Panel', 'QuickSegVisualizer', 'prediction_grid']
