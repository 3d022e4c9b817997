"""Losses that compare maps inside the networks; `pooling` has a fast backward pass."""
