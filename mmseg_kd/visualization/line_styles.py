"""Colours and dashes of the lines of a figure."""

# Colours of Okabe and Ito, which colour-blind people can distinguish. Black is for the labels or
# the baseline.
COLOURS = ('#E69F00', '#56B4E9', '#009E73', '#D55E00', '#0072B2', '#CC79A7')
DASHES = ('-', '--', ':')

# Arguments of `Axes.plot`: `color` and `linestyle`.
LineStyle = dict[str, str]
BLACK = dict(color='black', linestyle='-')


def line_style(number: int) -> LineStyle:
    """Return the style of line `number`, from 0: each colour solid, then each dashed."""
    dashes = DASHES[number // len(COLOURS) % len(DASHES)]
    return dict(color=COLOURS[number % len(COLOURS)], linestyle=dashes)
