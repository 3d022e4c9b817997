"""Runs compared and reported, from what they left behind."""
