"""Runs that belong together: what they left behind, compared and reported."""
