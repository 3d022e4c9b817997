"""A checkpoint that can be read and is not what a run saves is refused in one line."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import config_file, run, tiny_config

from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.engine import build_runner
from mmseg_kd.engine.resuming import resuming
from mmseg_kd.engine.runner import KDRunner
from mmseg_kd.errors import UserError


@pytest.fixture(scope='module')
def runner(tmp_path_factory: pytest.TempPathFactory) -> KDRunner:
    """A runner whose optimizer and schedules are built, and which resumes what it loads."""
    folder = tmp_path_factory.mktemp('bent')
    runner = build_runner(tiny_config(folder, train_cfg__max_iters=3))
    runner.train()
    runner.resumes = True
    return runner


@pytest.fixture
def load(runner: KDRunner, tmp_path: Path) -> Callable[[Callable[[dict], Any]], dict]:
    """A function that bends the checkpoint of the run, saves it and loads it."""

    def load(bend: Callable[[dict], Any]) -> dict:
        checkpoint = read_checkpoint(Path(runner.work_dir) / 'iter_3.pth')
        bend(checkpoint)
        torch.save(checkpoint, tmp_path / 'iter_3.pth')
        with resuming(tmp_path / 'iter_3.pth'):
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


INFO = 'message_hub/runtime_info'
STATE = 'optimizer/state/0'
STATE_MESSAGE = r'optimizer\.state\.0\.'


@pytest.mark.parametrize(
    ('bend', 'message'),
    [
        *(put('meta', value, 'cannot be resumed') for value in (None, [], 'meta')),
        *(put('meta/iter', value, 'it is of iteration') for value in (-1, 'x', 2.5, None, 10**30)),
        without('meta/iter', "KeyError: 'iter'"),
        *(put('message_hub', value, 'cannot be resumed') for value in (None, [], 5)),
        put('message_hub/log_scalars', 5, 'must be an iterable'),
        put('message_hub/runtime_info', 5, "'int' object is not iterable"),
        without(INFO, 'runtime_info'),
        *(put('optimizer', value, 'cannot be resumed') for value in (None, [], 5)),
        put('optimizer/state', [], 'cannot be resumed'),
        *(put('optimizer/param_groups', x, 'cannot be resumed') for x in (None, 5, [5], [{}])),
        put('optimizer/param_groups', [], 'other parameter groups'),
        *(put(f'{STATE}/exp_avg', x, STATE_MESSAGE) for x in (torch.zeros(3), torch.zeros(4, 2))),
        put(f'{STATE}/step', torch.ones(4), STATE_MESSAGE),
        put('param_schedulers', [], 'has 0 param_schedulers, the config 2'),
        without('param_schedulers', 'it has no param_schedulers'),
        *(put('rng_states', value, 'cannot be resumed') for value in (None, 5, 'x', [5])),
        put('rng_states/0/python', [3, [1, 2], None], 'state vector'),
        put('rng_states/0/numpy/2', 10**6, 'the position 1000000 is not in the state'),
        put('rng_states/0/torch', torch.zeros(5, dtype=torch.uint8), 'RNG state'),
    ],
)
def test_refused(load: Callable, bend: Callable, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        load(bend)
    assert 'cannot be resumed' in str(error.value)
    assert '\n' not in str(error.value)


def test_the_state_of_another_optimizer_is_refused(load: Callable) -> None:
    def bend(checkpoint: dict) -> None:
        for group in checkpoint['optimizer']['param_groups']:
            group['momentum'] = group.pop('betas')

    with pytest.raises(UserError, match=r"has \['momentum'\] in place of \['betas'\]"):
        load(bend)


def test_what_the_run_saved_is_loaded(load: Callable) -> None:
    load(lambda checkpoint: None)


def test_what_an_older_torch_saved_is_loaded(load: Callable, runner: KDRunner) -> None:
    def age(checkpoint: dict) -> None:
        for state in checkpoint['optimizer']['state'].values():
            state['step'] = 3
        for group in checkpoint['optimizer']['param_groups']:
            del group['decoupled_weight_decay']

    optimizer = runner.optim_wrapper.optimizer
    optimizer.load_state_dict(load(age)['optimizer'])
    assert all(state['step'] == torch.tensor(3.0) for state in optimizer.state.values())
    assert optimizer.param_groups[0]['decoupled_weight_decay'] is True


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
