"""Training in several processes, and a training that is interrupted."""

import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import KD_LOSSES, ROOT, config_file, run, tiny_model

from mmseg_kd.checkpoints import read_checkpoint


def two_processes(config: Path) -> subprocess.CompletedProcess:
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        port = probe.getsockname()[1]
    command = [sys.executable, '-m', 'torch.distributed.run', '--nproc_per_node=2']
    command += [f'--master_port={port}', str(ROOT / 'tools/train.py'), str(config)]
    environment = os.environ | dict(OMP_NUM_THREADS='1')
    return subprocess.run(
        [*command, '--launcher', 'pytorch'],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.slow
def test_two_processes_train_like_one(tmp_path: Path, teacher: dict) -> None:
    model = tiny_model(type='KDEncoderDecoder', teacher=teacher)
    # KL alone: SP compares the images of one process. No dropout: its masks depend on the batch.
    model['kd_losses'] = dict(kl_loss=KD_LOSSES['kl_loss'])
    model['backbone']['drop_path_rate'] = 0.0
    model['decode_head'].update(dropout_ratio=0.0, norm_cfg=dict(type='GN', num_groups=4))
    folders = tmp_path / 'one', tmp_path / 'two'
    for folder, batch_size in zip(folders, (4, 2), strict=True):
        folder.mkdir()
        config_file(folder, model=model, train_dataloader__batch_size=batch_size)
    assert run('train.py', folders[0] / 'config.py') == 0
    done = two_processes(folders[1] / 'config.py')
    assert done.returncode == 0, done.stderr[-3000:]
    one, two = (read_checkpoint(f / 'run' / 'iter_6.pth')['state_dict'] for f in folders)
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=2e-4, rtol=0, msg=name)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == 'win32', reason='Ctrl-C is sent as a signal')
def test_ctrl_c_says_how_to_go_on(tmp_path: Path) -> None:
    file = config_file(tmp_path, train_cfg__max_iters=100000)
    process = subprocess.Popen(
        [sys.executable, str(ROOT / 'tools/train.py'), str(file)],
        cwd=ROOT,
        env=os.environ | dict(OMP_NUM_THREADS='1'),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    lines = []
    for line in process.stdout:
        lines.append(line)
        if 'Iter(train) [    10/100000]' in line:
            process.send_signal(signal.SIGINT)
            break
    lines += process.stdout.readlines()
    text = ''.join(lines)
    assert process.wait(timeout=60) == 130, text
    assert 'Traceback' not in text
    assert re.search(r'interrupted at iteration \d+: iter_\d+.pth is there, continue', text)
