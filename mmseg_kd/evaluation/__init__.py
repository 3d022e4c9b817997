"""Metrics and the scoring of saved predictions."""

# ruff: noqa: F401  (the import registers the metric)

from mmseg_kd.evaluation.segmentation_metric import SegmentationMetric
