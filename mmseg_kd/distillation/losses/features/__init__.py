"""Losses that compare maps inside the networks, and the `pooling` that they use."""
