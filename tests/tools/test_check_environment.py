from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import KD_LOSSES, ROOT, config_file, run, tiny_config, tiny_model


def check(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, list[str], str]:
    """Exit code, printed lines and error."""
    capsys.readouterr()
    code = run('misc/check_environment.py', *arguments)
    printed = capsys.readouterr()
    return code, printed.out.splitlines(), printed.err


def test_the_machine_alone(capsys: pytest.CaptureFixture) -> None:
    code, lines, _ = check(capsys)
    assert (code, len(lines)) == (0, 2)
    assert f'torch {torch.__version__}' in lines[0]


def test_everything_that_a_student_needs(
    teacher: dict, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    cfg = tiny_config(tmp_path / 'run')
    cfg.model = tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES)
    cfg.dump(tmp_path / 'config.py')
    code, lines, _ = check(capsys, tmp_path / 'config.py')
    assert (code, lines[-1]) == (0, 'a training can start')
    lost = ['--cfg-options', 'model.teacher.checkpoint=lost.pth']
    code, lines, error = check(capsys, tmp_path / 'config.py', *lost)
    assert code == 2 and 'lost.pth does not exist' in error
    # Read before the training, not after the teacher was measured.
    lost = ['--cfg-options', 'model.teacher.baseline=lost']
    code, lines, error = check(capsys, tmp_path / 'config.py', *lost)
    assert code == 2 and 'lost does not exist; train the baseline first' in error
    assert not (tmp_path / 'run').exists()


def test_a_shipped_config_can_start(capsys: pytest.CaptureFixture) -> None:
    # Its schedules have no `end`.
    code, lines, _ = check(capsys, ROOT / 'local_configs/toy/segformer.b0.toy.py')
    assert (code, lines[-1]) == (0, 'a training can start')


@pytest.mark.parametrize(
    ('options', 'finding'),
    [
        (['model.pretrained=no/mit_b0.pth'], r'no/mit_b0.pth: no such file'),
        (['load_from=no.pth'], 'the checkpoint no.pth does not exist'),
        (['model.decode_head.num_classes=7'], 'write model.decode_head.num_classes=12'),
        (['default_hooks.checkpoint.save_best=mIoU13'], "has no 'mIoU13'"),
        (['val_dataloader.dataset.split=no'], "split: 'no' is not one of train, val, test"),
        (['work_dir={file}'], 'is a file; name a folder'),
        (['train_cfg.max_itres=4'], 'did you mean'),
    ],
)
def test_what_is_missing_says_what_to_do(
    options: list[str], finding: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config = config_file(tmp_path)
    options = [option.format(file=config) for option in options]
    code, lines, error = check(capsys, config, '--cfg-options', *options)
    assert code == 2
    assert error.splitlines()[-1].startswith('error: ') and finding in error.splitlines()[-1]
    assert 'a training can start' not in lines


def test_a_checkpoint_is_matched_and_replaces_pretrained_weights(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config = config_file(tmp_path, load_from=str(trained / 'run' / 'iter_6.pth'))
    code, lines, _ = check(capsys, config, '--cfg-options', 'model.pretrained=no/mit_b0.pth')
    assert (code, lines[-1]) == (0, 'a training can start')
    assert any('matched 116/116 tensors' in line for line in lines)
