"""Losses of the differences between neighbouring pixels: edges, junctions, frequencies."""
