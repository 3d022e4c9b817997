"""Config files as editors on Windows save them."""

from pathlib import Path

import pytest

from mmseg_kd.config.loading import read_config
from mmseg_kd.errors import UserError
from mmseg_kd.studies.config import load_study


@pytest.fixture(params=['the file', 'its base'])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, Path]:
    """A config, and the file of its chain that a test writes."""
    main, base = tmp_path / '설정.py', tmp_path / '기본.py'
    if request.param == 'the file':
        return main, main
    main.write_text("_base_ = ['./기본.py']\n", encoding='utf-8')
    return main, base


def test_a_mark_at_the_beginning_is_no_part_of_it(files: tuple[Path, Path]) -> None:
    main, written = files
    written.write_text('# 한글\nx = 1\n', encoding='utf-8-sig')
    cfg = read_config(main)
    assert cfg.x == 1
    assert '\ufeff' not in cfg.text


@pytest.mark.parametrize(
    ('content', 'says'),
    [
        (b"y = 1\nx = 'C:\\Users\\me'\n", r", line 2: .*write a path as r'C:\\Users\\me'"),
        (b'y = 1\nx = (\n', r", line 2: '\(' was never closed"),
        ('y = 1\n# 한글\n'.encode('cp949'), ', line 2: the file is not UTF-8 text; save it'),
        ('x = 1\n'.encode('utf-16'), ', line 1: the file is not UTF-8 text; save it'),
        (b'x = 1\0\n', ', line [?]: .*null bytes'),
    ],
)
def test_the_file_and_the_line_are_named(
    files: tuple[Path, Path], content: bytes, says: str
) -> None:
    main, written = files
    written.write_bytes(content)
    for read in (read_config, load_study):
        with pytest.raises(UserError, match=f'{written.name}{says}') as error:
            read(str(main))
        assert '\n' not in str(error.value)
