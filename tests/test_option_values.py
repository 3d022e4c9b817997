"""What a value of the command line becomes."""

from pathlib import Path
from typing import Any

import pytest
from conftest import config_file, run

from mmseg_kd.command_line import read_value


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('work_dirs/my run', 'work_dirs/my run'),
        (r'C:\Users\me\my run', r'C:\Users\me\my run'),
        ('runs/a,b', 'runs/a,b'),
        ('first try, second data', 'first try, second data'),
        ('(1) first', '(1) first'),
        ("it's", "it's"),
        ('', ''),
        ('12', 12),
        ('-1e-3', -0.001),
        ('true', True),
        ('None', None),
        ('[stage3, my tap]', ['stage3', 'my tap']),
        ('(64, 64)', (64, 64)),
        ('[(1, 2), [x, None]]', [(1, 2), ['x', None]]),
        ('[]', []),
        ('[1, 2,]', [1, 2]),
        ('["a, b", c]', ['a, b', 'c']),
        # Without brackets numbers and names alone.
        ('0.9,0.999', [0.9, 0.999]),
        ('stage3.pre_norm,stage4', ['stage3.pre_norm', 'stage4']),
        ('(1,2),(3,4)', [(1, 2), (3, 4)]),
        ("'a,b'", 'a,b'),
        # As the quotes of a shell that knows no single ones arrive.
        ("'[1,2]'", [1, 2]),
    ],
)
def test_values(text: str, value: Any) -> None:
    assert read_value(text) == value
    assert type(read_value(text)) is type(value)


@pytest.mark.parametrize('text', ['[1', '[[1, 2]', '(1, [2)]', '[1, (2]'])
def test_an_open_bracket_is_one_line(
    tmp_path: Path, text: str, capsys: pytest.CaptureFixture
) -> None:
    code = run('misc/print_config.py', config_file(tmp_path), '--cfg-options', f'x={text}')
    error = capsys.readouterr().err
    assert code == 2
    assert error.count('\n') == 1
    assert f"--cfg-options: 'x={text}'" in error and 'write x="[a,b]"' in error


def test_a_work_dir_keeps_its_spaces(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    option = f'work_dir={tmp_path / "my run"}'
    assert run('misc/print_config.py', config_file(tmp_path), '--cfg-options', option) == 0
    assert f'work_dir = {str(tmp_path / "my run")!r}' in capsys.readouterr().out
