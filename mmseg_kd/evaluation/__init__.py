"""Metrics and the scoring of saved predictions."""

# ruff: noqa: F401  (the import registers the metric)

import mmseg.evaluation

from mmseg_kd.evaluation.segmentation_metric import SegmentationMetric
