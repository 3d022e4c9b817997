"""Losses that compare maps inside the networks."""
