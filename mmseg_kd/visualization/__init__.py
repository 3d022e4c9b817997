"""Pictures for people."""

from mmseg_kd.visualization.prediction_grid import Panel, prediction_grid
from mmseg_kd.visualization.quick_visualizer import QuickSegVisualizer

__all__ = ['Panel', 'QuickSegVisualizer', 'prediction_grid']
