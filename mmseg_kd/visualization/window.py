"""Opens a window for figures."""

from __future__ import annotations

import matplotlib.pyplot as plt
from matplotlib.backends import BackendFilter, backend_registry
from matplotlib.figure import Figure

from mmseg_kd.errors import UserError, one_line


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
        option = f'--backend {backend}: ' if backend else ''
        reason = one_line(error, 120)
        raise UserError(f'{option}no window can be opened ({reason}); {instead}') from error
    chosen = plt.get_backend()
    if chosen.lower() in backend_registry.list_builtin(BackendFilter.NON_INTERACTIVE):
        reason = f"matplotlib's backend {chosen} has no windows"
        raise UserError(f'no window can be opened ({reason}); {instead}')
    return figure
