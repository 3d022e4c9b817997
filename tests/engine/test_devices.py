from __future__ import annotations

import os
import re
import sys
from pathlib import Path

import pytest
import torch
from conftest import config_file, run, tiny_config, tiny_model

from mmseg_kd.engine import build_runner
from mmseg_kd.engine.devices import GIB, memory_errors, unused_card
from mmseg_kd.errors import UserError

# 1.8 TiB a tensor, which no allocator gives.
HUGE = (400_000, 400_000)


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An `nvidia-smi`, as the driver of a card installs it."""
    windows = sys.platform == 'win32'
    program = tmp_path / ('nvidia-smi.bat' if windows else 'nvidia-smi')
    program.write_text('@echo off' if windows else '#!/bin/sh\n')
    program.chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}{os.pathsep}{os.environ["PATH"]}')
    monkeypatch.delenv('CUDA_VISIBLE_DEVICES', raising=False)


without_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason='torch uses the card')


@without_cuda
def test_a_card_that_torch_cannot_use_is_reported(
    card: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    problem = unused_card()
    assert 'an NVIDIA card' in problem and 'everything runs on the CPU' in problem
    assert ('pip install torch' if torch.version.cuda is None else 'NVIDIA driver') in problem
    build_runner(tiny_config(tmp_path / 'run'))
    output = capsys.readouterr()
    assert problem in output.out + output.err
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '')
    assert unused_card() is None


@without_cuda
@pytest.mark.parametrize('version', [None, '12.6'])
def test_the_advice_follows_the_build_of_torch(
    version: str | None, card: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.version, 'cuda', version)
    expected = 'supports CUDA 12.6' if version else 'pytorch.org/get-started gives for CUDA'
    assert expected in unused_card()


def huge_model() -> dict:
    model = tiny_model()
    model['data_preprocessor']['size'] = HUGE
    return model


def test_memory_that_runs_out_in_training_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    cfg = tiny_config(tmp_path / 'run')
    cfg.model = huge_model()
    cfg.dump(tmp_path / 'config.py')
    assert run('train.py', tmp_path / 'config.py') == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('error: out of memory in training, iteration 1: batch 2, crop 400000x4')
    assert 'GiB' in error
    for advice in ('train_dataloader.batch_size=1', 'accumulative_counts=2', '--amp', 'the crop'):
        assert advice in error


def test_memory_that_runs_out_in_testing_is_one_line(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    config = config_file(tmp_path)
    options = ['model.data_preprocessor.test_cfg.size=[400000,400000]']
    assert run('test.py', config, trained / 'run' / 'iter_6.pth', '--cfg-options', *options) == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith('error: out of memory in evaluation: batch 1, whole images')
    assert 'model.test_cfg.mode=slide' in error


@pytest.mark.parametrize(
    ('error', 'expected'),
    [
        (
            torch.OutOfMemoryError('CUDA out of memory. Tried to allocate 20 MiB'),
            'out of memory in',
        ),
        (RuntimeError('CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling'), 'out of memory in'),
        (MemoryError(), 'out of memory in'),
        (RuntimeError('DataLoader worker (pid 9) is killed by signal: Killed. '), 'num_workers'),
        (RuntimeError('DataLoader worker (pid(s) 9) exited unexpectedly'), 'num_workers'),
    ],
)
def test_every_way_in_which_memory_ends(
    error: Exception, expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = build_runner(tiny_config(tmp_path / 'run'))

    def fail(*args: object, **kwargs: object) -> None:
        raise error

    monkeypatch.setattr(runner.model, 'train_step', fail)
    with pytest.raises(UserError, match=expected):
        runner.train()


@pytest.mark.parametrize(
    ('error', 'held'),
    [
        (torch.OutOfMemoryError('CUDA out of memory'), 'peak 7.0 of 8.0 GiB (a card)'),
        (RuntimeError('cuDNN error: CUDNN_STATUS_ALLOC_FAILED'), 'peak 7.0 of 8.0 GiB (a card)'),
        (MemoryError(), 'GiB of memory'),
        (RuntimeError('DefaultCPUAllocator: not enough memory: you tried'), 'GiB of memory'),
    ],
    ids=['torch', 'cuDNN', 'Python', 'CPU'],
)
def test_the_memory_that_ran_out_is_named(
    error: Exception, held: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = build_runner(tiny_config(tmp_path / 'run'))
    for name, value in {
        'is_available': True,
        'max_memory_allocated': 7 * GIB,
        'mem_get_info': (0, 8 * GIB),
        'get_device_name': 'a card',
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    with pytest.raises(UserError, match=re.escape(f'{held}; write')), memory_errors(runner):
        raise error


def test_other_errors_stay_what_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = build_runner(tiny_config(tmp_path / 'run'))

    def fail(*args: object, **kwargs: object) -> None:
        raise RuntimeError('a fault of the program')

    monkeypatch.setattr(runner.model, 'train_step', fail)
    with pytest.raises(RuntimeError, match='a fault of the program'):
        runner.train()
