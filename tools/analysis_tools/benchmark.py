"""Measure this project beside the stock library, in one process, taking turns.

python tools/analysis_tools/benchmark.py [CONFIG ...] [--modes MODE ...] [--out FILE.json]

Ratios above 1 mean faster, or less memory, than stock: mmseg's MixVisionTransformer and
SegformerHead (the published formula at other widths than 256), mmseg's pipeline, mmengine's
Runner. Without CONFIG: SegFormer-B0, B2, B0 taught by B2, and the toy config for `loop`.
"""

from __future__ import annotations

import argparse
import copy
import io
import json
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mmseg_kd  # noqa: F401  # isort: skip  (first, because it refuses mixed installations)
import torch
from mmengine.config import Config
from prettytable import PrettyTable

from mmseg_kd.benchmark.about import about, be_quiet
from mmseg_kd.benchmark.data import data_runs
from mmseg_kd.benchmark.floor import busy_share, rates_of, work_of
from mmseg_kd.benchmark.loop import loop_runs
from mmseg_kd.benchmark.measure import Spread, interleaved, ratio
from mmseg_kd.benchmark.memory import peak_memory
from mmseg_kd.benchmark.steps import (
    build_own,
    build_pair,
    compute_dtype,
    infer_step,
    random_batch,
    train_step,
)
from mmseg_kd.benchmark.testing import testing_runs
from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.command_line import add_cfg_options, at_least, run_tool
from mmseg_kd.config import load_config
from mmseg_kd.engine.optim import fast_on_cpu
from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_new_file

MODES = ('train', 'kd', 'floor', 'infer', 'memory', 'data', 'loop', 'test')
CONFIGS = (
    'local_configs/segformer/B0/segformer.b0.512x512.camvid.py',
    'local_configs/segformer/B2/segformer.b2.512x512.camvid.py',
    'local_configs/segformer/B0/segformer.b0.512x512.camvid.kd.py',
    'local_configs/toy/segformer.b0.toy.py',
)
WHOLE_IMAGE = (360, 480)
# Of a turn: enough that the wait for the first batch does not count.
SAMPLES = 64


@dataclass
class Row:
    """One comparison: what, on what, how many times better, and the measurements behind it."""

    mode: str
    config: str
    setting: str
    ratio: Spread
    stock: list[float]
    mmseg_kd: list[float]
    unit: str = 's'


def main() -> None:
    """Print the table, and write the measurements where `--out` says."""
    parser = argparse.ArgumentParser(description='This project beside the stock library')
    parser.add_argument('configs', nargs='*', metavar='CONFIG')
    parser.add_argument('--modes', nargs='+', choices=MODES, default=MODES)
    parser.add_argument('--repeats', type=int, default=7, help='measurements of each, in turns')
    parser.add_argument('--batch-size', type=int, default=2)
    parser.add_argument('--size', type=int, nargs=2, default=(512, 512), metavar=('H', 'W'))
    parser.add_argument(
        '--dtypes',
        nargs='+',
        choices=['float32', 'amp'],
        help='by default both, and float32 alone on a CPU that has no bfloat16 instructions',
    )
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument(
        '--threads', type=at_least(1), help='of torch on the CPU; else as many as cores'
    )
    parser.add_argument('--out', type=Path, help='a JSON file for every measurement')
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.out:
        check_new_file(args.out, '--out')
    if args.repeats < 1 or args.batch_size < 2 or min(args.size) < 64:
        raise UserError('--repeats must be 1, --batch-size 2 and --size 64 or more')
    if args.device == 'cpu' and torch.cuda.is_available():
        raise UserError('--device cpu: runners take a GPU they see; set CUDA_VISIBLE_DEVICES=')
    if args.threads:
        torch.set_num_threads(args.threads)
    if not args.dtypes:
        fast = args.device != 'cpu' or fast_on_cpu(torch.bfloat16)
        args.dtypes = ['float32', 'amp'] if fast else ['float32']
    be_quiet()
    facts = about(args.device, args.repeats)
    print(', '.join(f'{key} {value}' for key, value in facts.items()))

    rows: list[Row] = []
    for path in args.configs or CONFIGS:
        cfg = load_config(path, args.cfg_options)
        for mode in _modes_of(cfg, path, args):
            for row in RUN[mode](cfg, Path(path).name, args):
                print(f'{row.mode:7}{row.config:40}{row.setting:36} {row.ratio}', flush=True)
                rows.append(row)
    if not rows:
        raise UserError(
            f'--modes {" ".join(args.modes)}: nothing of the configs can be measured so'
        )
    print(_table(rows))
    if args.out:
        text = json.dumps(dict(about=facts, rows=[asdict(row) for row in rows]), indent=1)
        with atomic_path(args.out) as partial:
            partial.write_text(text, encoding='utf-8')
        print(f'measurements: {args.out}')


def _modes_of(cfg: Config, path: str, args: argparse.Namespace) -> list[str]:
    if not args.configs and 'toy' in path:
        possible = ('loop',)
    elif cfg.model.get('kd_losses'):
        possible = ('kd', 'floor', 'memory')
    else:
        possible = ('train', 'floor', 'infer', 'memory', 'data', 'loop', 'test')
    if not args.configs:
        # Two configs of one data set have one pipeline, and a loop is measured where it shows.
        possible = [mode for mode in possible if not (mode in ('data', 'test') and '.b2.' in path)]
        possible = [mode for mode in possible if mode != 'loop' or 'toy' in path]
    return [mode for mode in MODES if mode in possible and mode in args.modes]


def _train_seconds(
    cfg: Config, args: argparse.Namespace, dtypes: Sequence[str]
) -> dict[tuple[str, str], list[float]]:
    """Seconds of the training step by candidate ('stock', 'mmseg_kd') and dtype."""
    batch = _train_batch(cfg, args)
    runs = {
        (who, dtype): train_step(model, cfg, batch, dtype, who == 'stock')
        for who, model in build_pair(cfg, args.device).items()
        for dtype in dtypes
    }
    return interleaved(runs, args.repeats, warmup=2)


def _train_batch(cfg: Config, args: argparse.Namespace) -> dict[str, list]:
    return random_batch(args.batch_size, tuple(args.size), cfg.model.decode_head.num_classes)


def _train(cfg: Config, name: str, args: argparse.Namespace) -> Iterator[Row]:
    seconds = _train_seconds(cfg, args, args.dtypes)
    mode = 'kd' if cfg.model.get('kd_losses') else 'train'
    setting = _shape(args.batch_size, args.size)
    for dtype in args.dtypes:
        stock, ours = seconds['stock', dtype], seconds['mmseg_kd', dtype]
        yield Row(mode, name, f'{setting}, {dtype}', ratio(stock, ours), stock, ours)
    if len(args.dtypes) > 1:
        stock, ours = seconds['stock', 'float32'], seconds['mmseg_kd', 'amp']
        yield Row(mode, name, f'{setting}, amp to float32', ratio(stock, ours), stock, ours)


def _kd(cfg: Config, name: str, args: argparse.Namespace) -> Iterator[Row]:
    yield from _train(cfg, name, args)
    if 'amp' not in args.dtypes:
        return
    cfg = copy.deepcopy(cfg)
    cfg.model.teacher.dtype = 'bfloat16'
    seconds = _train_seconds(cfg, args, ['float32'])
    setting = f'{_shape(args.batch_size, args.size)}, teacher bfloat16'
    yield Row('kd', name, setting, ratio(*seconds.values()), *seconds.values())


def _floor(cfg: Config, name: str, args: argparse.Namespace) -> Iterator[Row]:
    """How far a step is above what the device could do at best; no stock is involved."""
    model = build_own(cfg, args.device)
    setting = _shape(args.batch_size, args.size)
    # On a GPU float32 has two rates, as cuDNN rounds to TF32 and products do not.
    dtypes = [x for x in args.dtypes if args.device == 'cpu' or x != 'float32']
    for dtype in dtypes:
        step = train_step(model, cfg, _train_batch(cfg, args), dtype, stock=False)
        seconds = interleaved({'step': step}, args.repeats, warmup=2)['step']
        work = work_of(step)
        rates = rates_of(args.device, compute_dtype(args.device, dtype))
        least = {
            f'{work.flops / 1e9:.1f} GFLOP at {rates.flops / 1e9:.0f} a second': work.flops
            / rates.flops,
            f'{work.bytes / 1e9:.1f} GB at {rates.bytes / 1e9:.0f} a second': work.bytes
            / rates.bytes,
        }
        for what, floor in least.items():
            floors = [floor] * len(seconds)
            share = ratio(seconds, floors)
            yield Row(
                'floor', name, f'{setting}, {dtype}: step over {what}', share, seconds, floors
            )
        if args.device != 'cpu':
            share = busy_share(step)
            busy = Spread(share, share, share, 1)
            yield Row('floor', name, f'{setting}, {dtype}: GPU busy', busy, [], [], unit='share')


def _infer(cfg: Config, name: str, args: argparse.Namespace) -> Iterator[Row]:
    batch = random_batch(1, WHOLE_IMAGE, cfg.model.decode_head.num_classes)
    runs = {who: infer_step(m, batch) for who, m in build_pair(cfg, args.device).items()}
    seconds = interleaved(runs, args.repeats, warmup=2)
    yield Row('infer', name, _shape(1, WHOLE_IMAGE), ratio(*seconds.values()), *seconds.values())


def _memory(cfg: Config, name: str, args: argparse.Namespace) -> Iterator[Row]:
    batch = _train_batch(cfg, args)
    peaks = {}
    for who, model in build_pair(cfg, args.device).items():
        peaks[who] = [
            peak_memory(train_step(model, cfg, batch, 'float32', who == 'stock'), args.device)
        ]
    yield Row(
        'memory',
        name,
        f'{_shape(args.batch_size, args.size)}, float32',
        ratio(*peaks.values()),
        *peaks.values(),
        unit='MiB',
    )


def _data(cfg: Config, name: str, args: argparse.Namespace) -> Iterator[Row]:
    for workers in (0, 1):
        seconds = interleaved(data_runs(cfg, workers, SAMPLES), args.repeats)
        setting = f'{workers} worker' + 's' * (workers != 1)
        yield Row('data', name, setting, ratio(*seconds.values()), *seconds.values())


def _loop(cfg: Config, name: str, args: argparse.Namespace) -> Iterator[Row]:
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # Two runners introduce themselves.
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            runs = loop_runs(cfg, folder)
        seconds = interleaved(runs, args.repeats)
        # Theirs write into the folder.
        be_quiet()
    setting = f'batch {cfg.train_dataloader.batch_size}'
    stock, ours = seconds['stock iteration'], seconds['iteration']
    yield Row('loop', name, f'iteration, {setting}', ratio(stock, ours), stock, ours)
    for who, prefix in (('mmseg_kd', ''), ('stock', 'stock ')):
        whole, step = seconds[f'{prefix}iteration'], seconds[f'{prefix}step']
        share = ratio(whole, step)
        yield Row('loop', name, f'{who}: iteration over its step', share, whole, step)


def _test(cfg: Config, name: str, args: argparse.Namespace) -> Iterator[Row]:
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # A whole process a call: nothing is left of the one before, and few are enough.
        runs = testing_runs(cfg, folder)
        seconds = interleaved(runs, min(args.repeats, 3), warmup=0, settle=False)
    yield Row(
        'test', name, 'whole run on the test split', ratio(*seconds.values()), *seconds.values()
    )


RUN = dict(
    train=_train,
    kd=_kd,
    floor=_floor,
    infer=_infer,
    memory=_memory,
    data=_data,
    loop=_loop,
    test=_test,
)


def _shape(batch_size: int, size: Sequence[int]) -> str:
    return f'{batch_size} x {size[0]}x{size[1]}'


def _table(rows: list[Row]) -> str:
    table = PrettyTable(['mode', 'config', 'setting', 'stock / mmseg_kd', 'n'])
    table.align = 'l'
    for row in rows:
        table.add_row([row.mode, row.config, row.setting, str(row.ratio), row.ratio.n])
    return table.get_string()


if __name__ == '__main__':
    run_tool(main)
