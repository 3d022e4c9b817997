"""Keep the start-up chatter of the libraries from the user."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout

# Printed by mmseg while it is imported, about optional parts that nobody asked for.
CHATTER = ('Could not import OneDL',)


@contextmanager
def quiet_imports() -> Iterator[None]:
    """Import mmseg in this block without its remarks on optional parts; other output is kept."""
    printed = io.StringIO()
    try:
        with warnings.catch_warnings(), redirect_stdout(printed):
            warnings.filterwarnings('ignore', message='.*MultiScaleDeformableAttention.*')
            yield
    finally:
        for line in printed.getvalue().splitlines():
            if not any(remark in line for remark in CHATTER):
                print(line)
