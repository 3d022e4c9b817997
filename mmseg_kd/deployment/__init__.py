"""Use a trained model: predict images and videos, export to ONNX."""

# ruff: noqa: F401  (the imports are the public names)

from mmseg_kd.deployment.predictor import Predictor, load_predictor
