"""Losses that compare the scores of the classes; `temperature` has their softmax temperature."""
