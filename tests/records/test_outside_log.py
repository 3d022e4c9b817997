from pathlib import Path

import pytest

from mmseg_kd.errors import UserError
from mmseg_kd.records.outside_log import read_outside_log

MARKDOWN = """# First experiments

| lr | aAcc | Iteration | MIoU (%) | mAcc | remark |
|---|---|:---:|---|---|---|
| 6e-5 | 92.1% | 4,000 | 58.62 | 66.0 | first |
| 3e-5 | - | **8k** | 63.10 % | 71.2 | |

| iteration | mIoU |
|---|---|
| 1 | 2 |
"""


def test_markdown(tmp_path: Path) -> None:
    file = tmp_path / 'hand_made.md'
    file.write_text(MARKDOWN, encoding='utf-8')
    run = read_outside_log(file)
    assert run.name == 'hand_made'
    assert run.seed is None
    assert run.evaluations == [
        {'lr': 6e-5, 'aAcc': 92.1, 'iteration': 4000, 'mIoU': 58.62, 'mAcc': 66.0},
        {'lr': 3e-5, 'iteration': 8000, 'mIoU': 63.1, 'mAcc': 71.2},
    ]


@pytest.mark.parametrize('delimiter', [',', ';', '\t'])
def test_csv(tmp_path: Path, delimiter: str) -> None:
    file = tmp_path / 'run.csv'
    text = '\ufeffiter,mIoU,mIoU11\n8000,60.5,64\n\n4000,50,51.5\n'
    file.write_text(text.replace(',', delimiter), encoding='utf-8')
    assert read_outside_log(file).evaluations == [
        {'iteration': 4000, 'mIoU': 50.0, 'mIoU11': 51.5},
        {'iteration': 8000, 'mIoU': 60.5, 'mIoU11': 64.0},
    ]


@pytest.mark.parametrize(
    ('text', 'words'),
    [
        ('iteration,mIoU\n4000,58.6\n8000,oops\n', "line 3: mIoU 'oops' is not a number"),
        ('iteration,mIoU\n4000,158.6\n', "line 2: mIoU '158.6' is not a percentage"),
        ('iteration,mIoU\n4000,nan\n', "line 2: mIoU 'nan' is not finite"),
        ('iteration,mIoU\n4000.5,50\n', 'line 2: the iteration 4000.5 is not a whole number'),
        ('iteration,mIoU\n,50\n', 'line 2: the iteration is missing'),
        ('iteration,mIoU\n4000\n', 'line 2: 1 cells under 2 headings'),
        ('iteration,mIoU\n4000,5\n4000,6\n', 'line 3: iteration 4000 is there twice'),
        ('step,aAcc\n1,2\n', 'line 1: the table needs one column mIoU; it has step, aAcc'),
        ('iteration,mIoU\n', 'the table has no rows'),
        ('', 'holds no table'),
    ],
)
def test_a_wrong_cell_is_named(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / 'run.csv'
    file.write_text(text)
    with pytest.raises(UserError, match=r'run\.csv') as error:
        read_outside_log(file)
    assert words in str(error.value)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('encoding', ['utf-8', 'utf-8-sig', 'cp949', 'utf-16'])
def test_a_table_of_excel_and_powershell(tmp_path: Path, encoding: str) -> None:
    file = tmp_path / '첫 실험.csv'
    file.write_bytes('iteration,mIoU,비고\n4000,50,첫 실험\n'.encode(encoding))
    assert read_outside_log(file).evaluations == [{'iteration': 4000, 'mIoU': 50.0}]


def test_what_is_no_text_is_named(tmp_path: Path) -> None:
    file = tmp_path / 'run.csv'
    file.write_bytes(b'iteration,mIoU\n\xff\xff\xff\n')
    with pytest.raises(UserError, match=r'run\.csv cannot be read as text; save it as UTF-8'):
        read_outside_log(file)
