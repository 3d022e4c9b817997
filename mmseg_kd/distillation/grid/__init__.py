"""Calculus on the pixel grid and the Hodge decomposition of flows along its edges."""
