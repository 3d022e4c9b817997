"""The configs of a converted data set train, distil, test and predict."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import run
from photos_and_masks import TOOL, write

from mmseg_kd.config import load_config


def test_a_quote_in_the_name_of_the_data_set(tmp_path: Path) -> None:
    write(tmp_path / 'src', 3)
    dest = tmp_path / "Kim's fields"
    assert run(TOOL, tmp_path / 'src', dest) == 0
    cfg = load_config(str(dest / 'student.py'))
    assert cfg.work_dir == "work_dirs/Kim's fields_student"
    assert cfg.model.teacher.checkpoint == "work_dirs/Kim's fields_teacher/iter_4000.pth"
    assert cfg.model.teacher.baseline == "work_dirs/Kim's fields_baseline"


@pytest.mark.slow
def test_four_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forty photos are trained, distilled, tested and predicted."""
    write(tmp_path / 'src', 40)
    monkeypatch.chdir(tmp_path)
    assert run(TOOL, 'src', 'data/mine') == 0
    # The configs as written, with a few iterations of small batches in the main process.
    options = [
        '--cfg-options', 'train_cfg.max_iters=2', 'train_cfg.val_interval=2',
        'default_hooks.checkpoint.interval=2', 'train_dataloader.batch_size=2',
        *(f'{split}_dataloader.num_workers=0' for split in ('train', 'val', 'test')),
        *(f'{split}_dataloader.persistent_workers=False' for split in ('train', 'val', 'test')),
    ]  # fmt: skip
    teacher = 'model.teacher.checkpoint=work_dirs/mine_teacher/iter_2.pth'
    for role in ('baseline', 'teacher'):
        assert run('train.py', f'data/mine/{role}.py', *options) == 0
    assert run('train.py', 'data/mine/student.py', *options, teacher) == 0
    checkpoint = 'work_dirs/mine_student/iter_2.pth'
    assert run('test.py', 'data/mine/student.py', checkpoint, *options) == 0
    assert run('predict.py', checkpoint, 'src/Photos', '--out', 'predictions') == 0
    assert len(list(Path('predictions/ids').iterdir())) == 40
