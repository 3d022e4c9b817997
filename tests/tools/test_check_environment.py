from __future__ import annotations

from pathlib import Path

import pytest
import torch
from conftest import KD_LOSSES, config_file, run, tiny_config, tiny_model

NAMES = ['torch', 'CUDA']


def check(capsys: pytest.CaptureFixture, *arguments: object) -> tuple[int, dict[str, str]]:
    """Exit code and lines by name, with `!!` or `ok` before the finding."""
    capsys.readouterr()
    code = run('misc/check_environment.py', *arguments)
    lines = capsys.readouterr().out.splitlines()
    return code, {line[4:13].strip(): f'{line[:2]} {line[13:]}' for line in lines}


def test_the_machine_alone(capsys: pytest.CaptureFixture) -> None:
    code, facts = check(capsys)
    assert (code, list(facts)) == (0, NAMES)
    assert f'torch {torch.__version__}' in facts['torch']


def test_everything_that_a_student_needs(
    teacher: dict, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    cfg = tiny_config(tmp_path / 'run')
    cfg.model = tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES)
    cfg.dump(tmp_path / 'config.py')
    code, facts = check(capsys, tmp_path / 'config.py')
    # Before them, what the run is.
    assert (code, list(facts)[-4:]) == (0, [*NAMES, 'config'])
    assert facts['config'].startswith('ok a training can start')
    assert not (tmp_path / 'run').exists()


@pytest.mark.parametrize(
    ('options', 'finding'),
    [
        (['model.pretrained=no/mit_b0.pth'], r'no/mit_b0.pth: no such file'),
        (['load_from=no.pth'], 'no.pth: no such file'),
        (['val_dataloader.dataset.split=no'], 'no'),
        (['work_dir={file}'], 'is a file; name a folder'),
        (['train_cfg.max_itres=4'], 'did you mean'),
    ],
)
def test_what_is_missing_says_what_to_do(
    options: list[str], finding: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config = config_file(tmp_path)
    options = [option.format(file=config) for option in options]
    code, facts = check(capsys, config, '--cfg-options', *options)
    assert code == 2
    assert facts['config'].startswith('!! ') and finding in facts['config']
    assert [key for key, fact in facts.items() if fact.startswith('!!')] == ['config']


def test_weights_that_are_there_are_matched(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config = config_file(tmp_path, load_from=str(trained / 'run' / 'iter_6.pth'))
    code, facts = check(capsys, config)
    assert code == 0
    assert facts['config'].startswith('ok ')
