"""Colours and dashes that tell the lines of a picture apart."""

from __future__ import annotations

# Okabe and Ito's colours, which the colour-blind tell apart; black is for the labels or the
# baseline.
COLOURS = ('#E69F00', '#56B4E9', '#009E73', '#D55E00', '#0072B2', '#CC79A7')
DASHES = ('-', '--', ':')


def line_style(number: int) -> tuple[str, str]:
    """Colour and dashes of a picture's line, from 0: each colour solid, then each dashed."""
    return COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]
