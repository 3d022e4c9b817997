"""Losses that compare maps by their differences between neighbouring pixels and by frequency."""
