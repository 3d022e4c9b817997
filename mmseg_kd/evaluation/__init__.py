"""Metrics, registered in mmseg's own registry."""

from mmseg_kd.evaluation.segmentation_metric import SegmentationMetric

__all__ = ['SegmentationMetric']
