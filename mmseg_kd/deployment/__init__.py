"""Use a trained model: predict images and videos, export to ONNX."""

from mmseg_kd.deployment.predictor import Predictor, load_predictor

__all__ = ['Predictor', 'load_predictor']
