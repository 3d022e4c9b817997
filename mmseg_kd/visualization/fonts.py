"""Fonts of pictures, with Hangul where the system has it."""

from __future__ import annotations

from typing import Any

from matplotlib.font_manager import fontManager

# Of Windows, of Linux, and of macOS. matplotlib's own DejaVu Sans draws Hangul as boxes.
WITH_HANGUL = ('Malgun Gothic', 'NanumGothic', 'Noto Sans CJK KR', 'AppleGothic')


def font_settings(size: float | None = None) -> dict[str, Any]:
    """Return matplotlib's settings for text in pictures.

    A character that the first font lacks is drawn in the next one.

    Args:
        size: In points; None leaves it as it is.
    """
    installed = {font.name for font in fontManager.ttflist}
    # A name that is not installed would be a warning for every text.
    family = [name for name in WITH_HANGUL if name in installed]
    settings: dict[str, Any] = {'font.family': [*family, 'sans-serif']}
    return settings if size is None else settings | {'font.size': size}
