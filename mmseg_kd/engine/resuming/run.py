"""Check what a run resumes from, other than its weights."""

from __future__ import annotations

from fnmatch import fnmatch
from functools import reduce
from pathlib import Path, PureWindowsPath
from typing import Any

from mmengine.hooks import CheckpointHook
from mmengine.logging import HistoryBuffer
from mmengine.runner import Runner

from mmseg_kd.engine.resuming.values import Bent, expect, is_dict, is_number, is_whole, refusals
from mmseg_kd.errors import UserError

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
    needed = ['optimizer', 'message_hub', 'meta']
    needed += ['param_schedulers'] if runner.param_schedulers else []
    if missing := [key for key in needed if key not in checkpoint]:
        raise UserError(
            f'{source} cannot be resumed: it has no {", ".join(missing)} (a best_*.pth or '
            'published file holds the weights alone); resume from an iter_N.pth, or start from '
            'its weights with load_from'
        )
    with refusals(source):
        for where, is_known in ENTRIES.items():
            found = reduce(lambda node, key: node.get(key), where.split('.'), checkpoint)
            expect(is_known(found), where, found)
        meta, hub = checkpoint['meta'], checkpoint['message_hub']
        # mmengine runs the config text of a checkpoint of mmsegmentation 0.x.
        meta.pop('config', None)
        if meta['iter'] > runner.max_iters:
            raise Bent(f'it is of iteration {meta["iter"]}, after the last one, {runner.max_iters}')
        for key, log in hub['log_scalars'].items():
            expect(_is_log(log), f'message_hub.log_scalars.{key}', log)
        info = hub['runtime_info']
        for key, value in info.items():
            expect(isinstance(key, str), 'a name in message_hub.runtime_info', key)
            for pattern, is_known in INFO.items():
                known = is_known(value) or not fnmatch(key, pattern)
                expect(known, f'message_hub.runtime_info.{key}', value)
        # A run saves only what is to be resumed.
        hub['resumed_keys'] = dict.fromkeys([*hub['log_scalars'], *info], True)
    _adopt_best_checkpoints(info, runner)


def _is_log(value: Any) -> bool:
    return isinstance(value, HistoryBuffer) and all(
        part.ndim == 1 and part.dtype.kind in 'biuf' for part in value.data
    )


def _are_evaluations(rows: Any) -> bool:
    return isinstance(rows, list) and all(
        is_dict(row) and 'iter' in row and all(map(is_number, row.values())) for row in rows
    )


def _are_teachers(record: Any) -> bool:
    # A single teacher has no name.
    records = [record] if not is_dict(record) or 'sha256' in record else record.values()
    return all(
        is_dict(one) and all(isinstance(one.get(key), str) for key in ('sha256', 'checkpoint'))
        for one in records
    )


# What is known of the entries of a checkpoint, the outer ones first.
ENTRIES = {
    'meta': is_dict,
    'meta.iter': is_whole,
    'meta.epoch': is_whole,
    'meta.seed': lambda seed: seed is None or (is_whole(seed) and seed <= LARGEST_SEED),
    'message_hub': is_dict,
    'message_hub.log_scalars': is_dict,
    'message_hub.runtime_info': is_dict,
    'global_batch': lambda size: size is None or is_whole(size),
}
INFO = {
    'best_score*': is_number,
    'best_ckpt*': lambda path: isinstance(path, str),
    'keep_ckpt_ids': lambda steps: isinstance(steps, list) and all(map(is_whole, steps)),
    'evaluations': _are_evaluations,
    'teacher': _are_teachers,
}


def _adopt_best_checkpoints(info: dict[str, Any], runner: Runner) -> None:
    folder = Path(runner.work_dir)
    for hook in runner.hooks:
        if isinstance(hook, CheckpointHook) and hook.out_dir:
            folder = Path(hook.out_dir) / folder.name
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
