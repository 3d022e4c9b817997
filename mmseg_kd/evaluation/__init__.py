"""Metrics and the scoring of saved predictions."""

from mmseg_kd.evaluation.segmentation_metric import SegmentationMetric

__all__ = ['SegmentationMetric']
