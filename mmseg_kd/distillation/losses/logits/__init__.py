"""Losses that compare the scores of the classes."""
