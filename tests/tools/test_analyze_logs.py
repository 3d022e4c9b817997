"""Curves of real runs."""

from pathlib import Path

import pytest
from conftest import run
from matplotlib.figure import Figure
from PIL import Image
from reports.drawn_figures import keep_figures

from mmseg_kd.records.scalars import read_curves
from mmseg_kd.visualization.curves_figure import draw_curves

TOOL = 'analysis_tools/analyze_logs.py'


@pytest.mark.parametrize('suffix', ['.png', '.svg'])
def test_a_picture(
    trained: Path,
    tmp_path: Path,
    suffix: str,
    capfd: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    figures = keep_figures(monkeypatch)
    log = next((trained / 'run').glob('*/vis_data/scalars.json'))
    out = tmp_path / 'new' / f'curves{suffix}'
    # A folder, and a file without its first lines; a killed run's last line is not whole.
    torn = tmp_path / 'scalars.json'
    torn.write_text(''.join(log.read_text().splitlines(keepends=True)[2:]) + '{"loss": 0.1, "st')
    arguments = ['--keys', 'mIoU', 'loss', '--legend', 'folder', 'file']
    assert run(TOOL, trained / 'run', torn, *arguments, '--out', out) == 0
    assert str(out) in capfd.readouterr().out
    if suffix == '.png':
        with Image.open(out) as image:
            assert image.width == 1080
    else:
        assert out.read_text().startswith('<?xml')
    scores, losses = ([list(line.get_xdata()) for line in x.lines] for x in figures['curves'].axes)
    assert (scores, losses) == ([[3, 6], [3, 6]], [[1, 2, 3, 4, 5, 6], [3, 4, 5, 6]])
    names = [text.get_text() for text in figures['curves'].legends[0].get_texts()]
    assert names == ['folder', 'file']


def test_every_curve_is_there(trained: Path) -> None:
    curves = read_curves(trained / 'run')
    assert list(curves['mIoU']) == [3, 6]
    assert list(curves['loss']) == [1, 2, 3, 4, 5, 6]
    figure = Figure()
    draw_curves(figure, [curves, {}], ['mIoU', 'loss'], ['a', 'b'])
    for axes, key in zip(figure.axes, ('mIoU', 'loss'), strict=True):
        drawn, missing = axes.lines
        assert dict(zip(*drawn.get_data(), strict=True)) == curves[key]
        assert len(missing.get_xdata()) == 0
        assert drawn.get_color() != missing.get_color()
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ['a', 'b']
    assert figure.axes[0].lines[0].get_color() == figure.axes[1].lines[0].get_color()


def test_mistakes_are_one_line(trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    work_dir, mine, new = trained / 'run', tmp_path / 'mine.png', tmp_path / 'new.png'
    mine.write_text('mine')
    for arguments, message in (
        ((work_dir, '--out', mine), 'mine.png exists'),
        ((work_dir, '--out', mine / 'new.png'), 'mine.png is a file'),
        ((work_dir, '--out', tmp_path / 'new.txt'), 'does not end in one of'),
        ((work_dir, '--out', new, '--keys', 'miou'), "did you mean 'mIoU'?"),
        ((work_dir, '--out', new, '--legend', 'a', 'b'), '2 names for 1 logs'),
        ((tmp_path, '--out', new), 'holds no */vis_data/scalars.json'),
        ((trained / 'config.py', '--out', new), 'line 1: is not a JSON'),
    ):
        assert run(TOOL, *arguments) == 2
        error = capfd.readouterr().err
        assert message in error
        assert len(error.strip().splitlines()) == 1
    assert mine.read_text() == 'mine'
    assert not new.exists()
