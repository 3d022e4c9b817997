"""Hangul in pictures."""

import warnings
from io import BytesIO
from pathlib import Path

import matplotlib
import pytest
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen
from matplotlib.figure import Figure
from matplotlib.font_manager import fontManager

from mmseg_kd.visualization import canvas
from mmseg_kd.visualization.canvas import font_family


def make_font(file: Path, name: str) -> None:
    """Write a font whose one letter is a square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 500), (500, 500), (500, 0)):
        pen.lineTo(corner)
    pen.closePath()
    font = FontBuilder(1000)
    font.setupGlyphOrder(['.notdef', 'han'])
    font.setupCharacterMap({ord('한'): 'han'})
    font.setupGlyf({'.notdef': TTGlyphPen(None).glyph(), 'han': pen.glyph()})
    font.setupHorizontalMetrics({'.notdef': (600, 0), 'han': (600, 0)})
    font.setupHorizontalHeader(ascent=800, descent=-200)
    font.setupNameTable({'familyName': name, 'styleName': 'Regular'})
    font.setupOS2()
    font.setupPost()
    font.save(file)


def draw(text: str) -> list[str]:
    """The warnings of a picture with a text."""
    with (
        warnings.catch_warnings(record=True) as caught,
        matplotlib.rc_context({'font.family': font_family()}),
    ):
        warnings.simplefilter('always')
        figure = Figure()
        figure.suptitle(text)
        figure.savefig(BytesIO())
    return [str(warning.message) for warning in caught]


@pytest.mark.parametrize('name', canvas.WITH_HANGUL)
def test_hangul_is_drawn_with_a_font_of_the_system(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    known = [font for font in fontManager.ttflist if font.name not in canvas.WITH_HANGUL]
    monkeypatch.setattr(fontManager, 'ttflist', known)
    assert font_family() == ['sans-serif']
    assert any('missing from font' in warning for warning in draw('한 A'))
    make_font(tmp_path / 'font.ttf', name)
    fontManager.addfont(tmp_path / 'font.ttf')
    assert font_family() == ['sans-serif', name]
    assert draw('한 A') == []
