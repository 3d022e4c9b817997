"""Check what a run resumes from, other than weights, optimizer and schedules."""

from __future__ import annotations

from pathlib import Path, PureWindowsPath
from typing import Any

from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from mmseg_kd.engine.resuming.values import (
    Bent,
    check_type,
    expect,
    is_number,
    is_whole,
    refusals,
)
from mmseg_kd.errors import UserError

NEEDED = ('optimizer', 'message_hub', 'meta')
LARGEST_SEED = 2**32 - 1


def check_resumable(checkpoint: dict[str, Any], runner: Runner, source: str | Path) -> None:
    """Make sure that a run can resume from a checkpoint.

    Paths of best checkpoints are replaced by those of the run's own folder; one that is not
    there is forgotten with its score, so that the run keeps a new one.

    Args:
        checkpoint: What `read_checkpoint` returned, changed in place.
        runner: The run, with its schedules built.
        source: The file, for messages.

    Raises:
        UserError: The checkpoint has the weights alone, is of another kind of run, or one of its
            entries has another type or shape than those of this run.
    """
    missing = [key for key in NEEDED if key not in checkpoint]
    if runner.param_schedulers and not missing and 'param_schedulers' not in checkpoint:
        missing = ['param_schedulers']
    if missing:
        raise UserError(
            f'{source} cannot be resumed: it has no {", ".join(missing)} (a best_*.pth or '
            'published file holds the weights alone); resume from an iter_N.pth, or start from '
            'its weights with load_from'
        )
    with refusals(source):
        _check_meta(checkpoint['meta'], runner)
        _check_messages(checkpoint['message_hub'], runner)
        check_type(checkpoint.get('global_batch', 0), int, 'global_batch')


def _check_meta(meta: Any, runner: Runner) -> None:
    check_type(meta, dict, 'meta')
    # mmengine runs the config text of a checkpoint of mmsegmentation 0.x.
    meta.pop('config', None)
    for key in ('iter', 'epoch'):
        expect(is_whole(meta.get(key)), f'meta.{key}', meta.get(key))
    if meta['iter'] > runner.max_iters:
        raise Bent(f'it is of iteration {meta["iter"]}, after the last one, {runner.max_iters}')
    seed = meta.get('seed')
    expect(seed is None or (is_whole(seed) and seed <= LARGEST_SEED), 'meta.seed', seed)


def _check_messages(hub: Any, runner: Runner) -> None:
    check_type(hub, dict, 'message_hub')
    for part in ('log_scalars', 'runtime_info'):
        check_type(hub.get(part), dict, f'message_hub.{part}')
        for key in hub[part]:
            check_type(key, str, f'a name in message_hub.{part}')
    for key, log in hub['log_scalars'].items():
        known = isinstance(log, HistoryBuffer) and all(
            part.ndim == 1 and part.dtype.kind in 'biuf' for part in log.data
        )
        expect(known, f'message_hub.log_scalars.{key}', log)
    info = hub['runtime_info']
    _check_runtime_info(info)
    resumed = runner.message_hub.state_dict()['resumed_keys']
    # What this run does not resume came from no run's checkpoint.
    for key in [k for k in info if resumed.get(k) is False]:
        del info[key]
    # A run saves only what is to be resumed.
    hub['resumed_keys'] = dict.fromkeys([*hub['log_scalars'], *info], True)
    _adopt_best_checkpoints(info, runner)


def _check_runtime_info(info: dict[str, Any]) -> None:
    where = 'message_hub.runtime_info'
    for key, value in info.items():
        if key.startswith('best_score'):
            expect(is_number(value), f'{where}.{key}', value)
        elif key.startswith('best_ckpt'):
            check_type(value, str, f'{where}.{key}')
    steps = info.get('keep_ckpt_ids', [])
    expect(isinstance(steps, list) and all(map(is_whole, steps)), f'{where}.keep_ckpt_ids', steps)
    rows = info.get('evaluations', [])
    known = isinstance(rows, list) and all(
        isinstance(row, dict) and 'iter' in row and all(map(is_number, row.values()))
        for row in rows
    )
    expect(known, f'{where}.evaluations', rows)
    record = info.get('teacher', {})
    check_type(record, dict, f'{where}.teacher')
    for one in [record] if 'sha256' in record else record.values():
        known = isinstance(one, dict) and all(
            isinstance(one.get(key), str) for key in ('sha256', 'checkpoint')
        )
        expect(known, f'{where}.teacher', one)


def _adopt_best_checkpoints(info: dict[str, Any], runner: Runner) -> None:
    folder = _checkpoint_folder(runner)
    for key in [key for key in info if key.startswith('best_ckpt')]:
        # A Windows path splits at both kinds of slash, wherever the run began.
        file = folder / PureWindowsPath(info[key]).name
        if file.is_file() and not file.is_symlink():
            info[key] = str(file)
            continue
        runner.logger.warning(
            f'the best checkpoint so far, {info[key]!a}, is not in {folder}: the best one '
            'from here on will be kept'
        )
        del info[key]
        info.pop(key.replace('best_ckpt', 'best_score'), None)


def _checkpoint_folder(runner: Runner) -> Path:
    work_dir = Path(runner.work_dir)
    out_dirs = [hook.out_dir for hook in runner.hooks if isinstance(hook, CheckpointHook)]
    return Path(out_dirs[0]) / work_dir.name if out_dirs and out_dirs[0] else work_dir
