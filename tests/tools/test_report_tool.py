"""The report from the command line."""

import runpy
import shutil
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from reports.run_copies import copy_run


def run(*arguments: object) -> int:
    """Run the tool in this process; its exit code."""
    argv, sys.argv = sys.argv, ['report.py', *map(str, arguments)]
    try:
        runpy.run_path(str(ROOT / 'tools/analysis_tools/report.py'), run_name='__main__')
    except SystemExit as stop:
        return stop.code
    finally:
        sys.argv = argv
    return 0


def test_work_dirs_and_their_readme(
    trained_pair: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    for name, folder in trained_pair.items():
        copy_run(folder, tmp_path / name)
    # As `work_dirs/*` names it too.
    readme = shutil.copy(ROOT / 'work_dirs' / 'README.md', tmp_path)
    assert run(readme, tmp_path / 'baseline', tmp_path / 'student', '--lang', 'ko') == 0
    out = tmp_path / 'report'
    assert (out / 'report.html').is_file()
    text = (out / 'report.md').read_text(encoding='utf-8')
    assert '결과 요약' in text
    assert 'report.md' in capfd.readouterr().out


def test_with_images(trained_pair: dict[str, Path], tmp_path: Path) -> None:
    folders = trained_pair.values()
    assert run(*folders, '--baseline', 'baseline', '--out', tmp_path, '--images', 2) == 0
    assert (tmp_path / 'figures' / 'images.png').is_file()
    assert '## Images' in (tmp_path / 'report.md').read_text(encoding='utf-8')


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ('iteration,mIoU\n1,50\n', 'run.csv is a file; name a folder'),
        (None, 'run.csv does not exist'),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, capfd: pytest.CaptureFixture, content: str | None, words: str
) -> None:
    if content is not None:
        (tmp_path / 'run.csv').write_text(content)
    assert run(tmp_path / 'run.csv', '--out', tmp_path / 'out') == 2
    error = capfd.readouterr().err
    assert words in error
    assert error.count('\n') == 1


def test_a_negative_number_of_images(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    assert run(tmp_path, '--images', -3) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.endswith("error: argument --images: '-3' is not a whole number from 0 up")


def test_a_report_of_others_stays(
    trained_pair: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    (tmp_path / 'report.md').write_text('mine')
    arguments = (trained_pair['baseline'], '--out', tmp_path, '--images', 0)
    assert run(*arguments) == 2
    assert 'is a report of other runs' in capfd.readouterr().err
    assert (tmp_path / 'report.md').read_text() == 'mine'
    assert run(*arguments, '--overwrite') == 0
