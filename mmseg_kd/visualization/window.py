"""Shows figures in a window."""

from __future__ import annotations

from io import BytesIO

import matplotlib.pyplot as plt
from matplotlib.backends import BackendFilter, backend_registry
from matplotlib.figure import Figure

from mmseg_kd.errors import UserError


def window_figure(instead: str, backend: str | None = None) -> Figure:
    """Make an empty figure for a window.

    Args:
        instead: What to write if there is no screen, for the error.
        backend: A backend of matplotlib (default: matplotlib chooses).

    Raises:
        UserError: There is no screen, or no such backend.
    """
    try:
        if backend is not None:
            plt.switch_backend(backend)
        figure = plt.figure()
    except (ImportError, ValueError) as error:
        reason = ' '.join(str(error).split())
        option = f'--backend {backend}: ' if backend else ''
        raise UserError(f'{option}no window can be opened ({reason[:120]}); {instead}') from error
    chosen = plt.get_backend()
    if chosen.lower() in backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE):
        plt.close(figure)
        raise UserError(
            f"no window can be opened (matplotlib's backend is {chosen}, as without a screen); "
            f'{instead}'
        )
    return figure


def show_picture(png: BytesIO, figure: Figure, seconds: float) -> bool:
    """Show a PNG in a window for some seconds, or until a key is pressed.

    Args:
        png: The image.
        figure: The figure from `window_figure`.
        seconds: How long to show it.

    Returns:
        Whether the window is still open.
    """
    picture = plt.imread(png)
    height, width = picture.shape[:2]
    figure.clear()
    figure.set_size_inches(width / figure.dpi, height / figure.dpi)
    figure.figimage(picture)
    figure.canvas.draw_idle()
    figure.waitforbuttonpress(seconds)
    return plt.fignum_exists(figure.number)
