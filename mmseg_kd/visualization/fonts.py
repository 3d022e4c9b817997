"""Fonts of figures, with Hangul if the system has it."""

from __future__ import annotations

from typing import Any

from matplotlib.font_manager import fontManager

# Fonts of Windows, Linux and macOS. matplotlib's DejaVu Sans draws Hangul as boxes.
WITH_HANGUL = ('Malgun Gothic', 'NanumGothic', 'Noto Sans CJK KR', 'AppleGothic')


def font_settings(size: float | None = None) -> dict[str, Any]:
    """Return matplotlib's settings for text in figures.

    A character that the first font lacks is drawn in the next one.

    Args:
        size: In points; None keeps the current size.
    """
    installed = {font.name for font in fontManager.ttflist}
    # matplotlib warns at every text if a font is not installed.
    family = [name for name in WITH_HANGUL if name in installed]
    settings: dict[str, Any] = {'font.family': [*family, 'sans-serif']}
    return settings if size is None else settings | {'font.size': size}
