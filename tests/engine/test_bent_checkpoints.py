"""A checkpoint that can be read and is not what a run saves is refused in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import config_file, run, tiny_config
from mmengine.logging import HistoryBuffer

from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.engine import build_runner
from mmseg_kd.engine.runner import KDRunner
from mmseg_kd.errors import UserError


@pytest.fixture(scope='module')
def runner(tmp_path_factory: pytest.TempPathFactory) -> KDRunner:
    """A runner whose optimizer and schedules are built, and which resumes what it loads."""
    folder = tmp_path_factory.mktemp('bent')
    runner = build_runner(tiny_config(folder, train_cfg__max_iters=3))
    runner.train()
    runner.cfg.resume = True
    return runner


@pytest.fixture
def load(runner: KDRunner, tmp_path: Path) -> Callable[[Callable[[dict], Any]], dict]:
    """A function that bends the checkpoint of the run, saves it and loads it."""

    def load(bend: Callable[[dict], Any]) -> dict:
        checkpoint = read_checkpoint(Path(runner.work_dir) / 'iter_3.pth')
        bend(checkpoint)
        torch.save(checkpoint, tmp_path / 'iter_3.pth')
        return runner.load_checkpoint(str(tmp_path / 'iter_3.pth'))

    return load


def entry(checkpoint: dict, path: str) -> tuple[Any, Any]:
    """The container of an entry, by its keys between slashes, and the entry's key in it."""
    *parents, last = (int(part) if part.isdigit() else part for part in path.split('/'))
    for part in parents:
        checkpoint = checkpoint[part]
    return checkpoint, last


def put(path: str, value: Any, message: str | None = None) -> Any:
    """A case that replaces an entry."""

    def bend(checkpoint: dict) -> None:
        node, key = entry(checkpoint, path)
        node[key] = value

    shown = 'tensor' if isinstance(value, torch.Tensor) else repr(value)[:20]
    return pytest.param(bend, message or path.replace('/', r'\.'), id=f'{path}={shown}')


def without(path: str, message: str | None = None) -> Any:
    """A case that takes an entry out."""

    def bend(checkpoint: dict) -> None:
        node, key = entry(checkpoint, path)
        del node[key]

    return pytest.param(bend, message or path.replace('/', r'\.'), id=f'no {path}')


RNG = r'its rng_states are not what this run saves'
INFO = 'message_hub/runtime_info'
GROUP = 'optimizer/param_groups/0'
STATE = 'optimizer/state/0'


@pytest.mark.parametrize(
    ('bend', 'message'),
    [
        *(put('meta', value) for value in (None, [], 'meta')),
        *(put('meta/iter', value) for value in (-1, 'x', 2.5, None, True)),
        put('meta/iter', 10**30, 'after the last one, 3'),
        put('meta/epoch', 'x'),
        *(put('meta/seed', value) for value in ('x', -1, 2**32, 0.5)),
        without('meta/iter'),
        *(put('message_hub', value) for value in (None, [], 5)),
        *(put(f'message_hub/{part}', 5) for part in ('log_scalars', 'runtime_info')),
        without(INFO),
        put('message_hub/log_scalars/x', 5),
        put('message_hub/log_scalars/x', HistoryBuffer(np.ones((2, 2)), np.ones((2, 2)))),
        put(f'{INFO}/5', 5, 'a name in message_hub.runtime_info'),
        *(put(f'{INFO}/best_score', value) for value in ('x', None, float('nan'))),
        *(put(f'{INFO}/best_ckpt', value) for value in (5, None)),
        *(put(f'{INFO}/keep_ckpt_ids', value) for value in (5, ['../../x'], [1.5], {'a': 1})),
        *(put(f'{INFO}/evaluations', value) for value in (5, [5], [{}], [{'iter': 3, 'm': 'x'}])),
        *(put(f'{INFO}/teacher', value) for value in (5, {'a': 5}, {'sha256': 5})),
        *(put('optimizer', value) for value in (None, [], 5)),
        *(put('optimizer/state', value) for value in (None, [], {'x': {}}, {10**6: {}})),
        *(put('optimizer/param_groups', value) for value in (None, 5, [5], [{}])),
        put('optimizer/param_groups', [], 'other parameter groups'),
        *(put(f'{GROUP}/lr', value) for value in ('x', float('nan'))),
        *(put(f'{GROUP}/betas', value) for value in (0.9, (0.9, 0.9, 0.9), (0.9, 'x'))),
        put(f'{GROUP}/amsgrad', 'x'),
        put(f'{GROUP}/params', 'x'),
        put(f'{GROUP}/params/1', 0, r'optimizer\.param_groups\.params'),
        put('optimizer/base_param_settings', 5),
        put(STATE, 5),
        *(put(f'{STATE}/exp_avg', value) for value in (torch.zeros(3), torch.zeros(()), 'x')),
        put(f'{STATE}/exp_avg_sq', torch.zeros(2, 2).to_sparse()),
        *(put(f'{STATE}/step', value) for value in (torch.ones(4), None)),
        without(f'{STATE}/exp_avg', r'optimizer\.state\.0 '),
        *(put('param_schedulers', value) for value in (None, 5, [5, 5])),
        put('param_schedulers', [], 'has 0 param_schedulers, the config 2'),
        without('param_schedulers', 'it has no param_schedulers'),
        put('param_schedulers/0/last_step', 'x'),
        put('param_schedulers/0/base_values', [0.1]),
        put('param_schedulers/1/_last_value', 5),
        put('param_schedulers/0/by_epoch', 'x'),
        put('param_schedulers/0/param_name', 5),
        without('param_schedulers/0/last_step'),
        *(put('rng_states', value, RNG) for value in (None, 5, [], {}, 'x', [5])),
        *(put('rng_states/0/python', value, RNG) for value in (5, [3, [1, 2], None])),
        put('rng_states/0/numpy/1', torch.zeros(3, dtype=torch.int64), RNG),
        put('rng_states/0/numpy/2', 10**6, RNG),
        *(
            put('rng_states/0/torch', value, RNG)
            for value in (torch.zeros(5, dtype=torch.uint8), 'x')
        ),
        put('global_batch', 'x'),
    ],
)
def test_refused(load: Callable, bend: Callable, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        load(bend)
    assert 'cannot be resumed' in str(error.value)
    assert '\n' not in str(error.value)


def test_what_the_run_saved_is_loaded(load: Callable) -> None:
    load(lambda checkpoint: None)


def test_what_an_older_torch_saved_is_loaded(load: Callable) -> None:
    def age(checkpoint: dict) -> None:
        for state in checkpoint['optimizer']['state'].values():
            state['step'] = 3
        for group in checkpoint['optimizer']['param_groups']:
            del group['decoupled_weight_decay']

    optimizer = load(age)['optimizer']
    assert torch.equal(optimizer['state'][0]['step'], torch.tensor(3.0))
    assert optimizer['param_groups'][0]['decoupled_weight_decay'] is True


def test_what_mmengine_would_run_or_overwrite_is_dropped(load: Callable) -> None:
    def bend(checkpoint: dict) -> None:
        hub = checkpoint['message_hub']
        hub['resumed_keys'] = dict.fromkeys(hub['resumed_keys'], False)
        checkpoint['meta']['config'] = 'raise SystemExit'
        checkpoint['param_schedulers'][0]['step'] = 5

    checkpoint = load(bend)
    assert all(checkpoint['message_hub']['resumed_keys'].values())
    assert 'config' not in checkpoint['meta']
    assert 'step' not in checkpoint['param_schedulers'][0]


def test_the_tool_says_so_in_one_line(
    runner: KDRunner, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    checkpoint = read_checkpoint(Path(runner.work_dir) / 'iter_3.pth')
    # The fused AdamW would crash the process.
    checkpoint['optimizer']['state'][5]['exp_avg'] = torch.zeros(7)
    (tmp_path / 'run').mkdir()
    file = tmp_path / 'run' / 'iter_3.pth'
    torch.save(checkpoint, file)
    assert run('train.py', config_file(tmp_path), '--resume') == 2
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f'error: {file} cannot be resumed: its optimizer.state.5.exp_avg is')
    assert 'a tensor of shape (7,)' in error
