"""The teacher's card from the command line."""

import hashlib
import runpy
import sys
from pathlib import Path

import pytest
from conftest import KD_LOSSES, ROOT, tiny_config, tiny_model


def run(*arguments: object) -> int:
    """Run the tool in this process; its exit code."""
    argv, sys.argv = sys.argv, ['check_teacher.py', *map(str, arguments)]
    try:
        runpy.run_path(str(ROOT / 'tools/misc/check_teacher.py'), run_name='__main__')
    except SystemExit as stop:
        return stop.code
    finally:
        sys.argv = argv
    return 0


def student(folder: Path, teacher: dict, **options: object) -> Path:
    model = tiny_model(
        type='KDEncoderDecoder',
        teacher=teacher,
        kd_losses=KD_LOSSES,
        pretrained='pretrained/lost.pth',
    )
    # Training data that nobody has: none of it is needed.
    lost = dict(type='CamVidDataset', data_root='nowhere', _delete_=True)
    cfg = tiny_config(folder / 'run', model=model, train_dataloader__dataset=lost, **options)
    cfg.dump(folder / 'config.py')
    return folder / 'config.py'


def test_the_table(tmp_path: Path, teacher: dict, capfd: pytest.CaptureFixture) -> None:
    config = student(tmp_path, teacher | dict(baseline=99.0))
    assert run(config) == 0
    printed = capfd.readouterr().out
    sha256 = hashlib.sha256(Path(teacher['checkpoint']).read_bytes()).hexdigest()
    row = next(line for line in printed.splitlines() if sha256[:8] in line)
    name, miou, baseline, difference, *_ = (cell.strip() for cell in row.strip('|').split('|'))
    assert (name, baseline) == ('teacher', '99.00')
    assert float(difference) == pytest.approx(float(miou) - 99, abs=0.011)
    assert "warning: the teacher does not beat the student's baseline" in printed
    assert f'its mIoU is {miou}, {difference[1:]} points less' in printed
    assert not (tmp_path / 'run').exists()
    # A number on the command line is enough.
    assert run(config, '--cfg-options', 'model.teacher.baseline=None') == 0
    printed = capfd.readouterr().out
    assert 'warning' not in printed
    assert miou in printed


def test_mistakes_are_one_line(tmp_path: Path, teacher: dict, capfd: pytest.CaptureFixture) -> None:
    config = student(tmp_path, teacher)
    lost = dict(type='CamVidDataset', data_root='nowhere', split='val', _delete_=True)
    for number, (file, options, message) in enumerate(
        [
            (ROOT / 'local_configs/toy/segformer.b0.toy.py', [], 'has no teacher'),
            (config, ['model.teacher.checkpoint=lost.pth'], 'lost.pth does not exist'),
            (config, ['model.teacher.baseline=lost'], 'the work_dir lost does not exist'),
            (config, ['val_evaluator=None'], 'has no val_evaluator'),
            (config, ['val_evaluator.type=Nonsense'], 'Nonsense is not in the'),
            (config, ['model.backbone.depths=5'], 'cannot be built: MixTransformer'),
            (lost, [], 'camvid.py --download'),
        ]
    ):
        if isinstance(file, dict):
            folder = tmp_path / str(number)
            folder.mkdir()
            file = student(folder, teacher, val_dataloader__dataset=file)
        arguments = ['--cfg-options', *options] if options else []
        assert run(file, *arguments) == 2
        error = capfd.readouterr().err
        assert message in error
        assert 'Traceback' not in error
        assert error.strip().splitlines()[-1].startswith('error: ')
