"""Compare this project with the stock libraries, in one process, in turns.

python benchmarks/compare.py [CONFIG ...] [--modes MODE ...] [--out FILE.json]

Ratios above 1 mean faster, or less memory, than stock: mmseg's MixVisionTransformer and
SegformerHead (the published formula at other widths than 256), mmseg's pipeline, mmengine's
Runner. Without CONFIG: SegFormer-B0, B2, B0 taught by B2, and the toy config for `loop`.
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import mmseg_kd  # noqa: F401  # isort: skip  (first, because it refuses mixed installations)
import torch
from mmengine.config import Config

from measuring.command import add_options, be_quiet, prepare, write
from measuring.runs import data_runs, loop_runs
from measuring.steps import build_pair, infer_step, random_batch, train_step
from measuring.timing import Spread, interleaved, peak_memory, ratio
from mmseg_kd.command_line import run_tool
from mmseg_kd.config import load_config
from mmseg_kd.engine.optim import fast_on_cpu
from mmseg_kd.errors import UserError

CONFIGS = (
    'local_configs/segformer/B0/segformer.b0.512x512.camvid.py',
    'local_configs/segformer/B2/segformer.b2.512x512.camvid.py',
    'local_configs/segformer/B0/segformer.b0.512x512.camvid.kd.py',
    'local_configs/toy/segformer.b0.toy.py',
)
WHOLE_IMAGE = (360, 480)
# Per turn of `data`: enough that the wait for the first batch does not count.
SAMPLES = 64


@dataclass
class Row:
    """One comparison: the setting, and the measurements of both sides."""

    setting: str
    stock: list[float]
    mmseg_kd: list[float]
    unit: str = 's'

    @property
    def ratio(self) -> Spread:
        """How many times better `mmseg_kd` is than `stock`."""
        return ratio(self.stock, self.mmseg_kd)


def main() -> None:
    """Print each ratio, and write the measurements where `--out` says."""
    args = _parse_args()
    facts = prepare(args)
    print(f'stock / mmseg_kd, median (least to greatest), n = {args.repeats}')
    rows = []
    for path in args.configs or CONFIGS:
        cfg = load_config(path, args.cfg_options)
        for mode in _modes_of(cfg, path, args):
            for row in MODES[mode](cfg, args):
                name = Path(path).name
                print(f'{mode:7}{name:40}{row.setting:36} {row.ratio}', flush=True)
                rows.append(dict(mode=mode, config=name, **asdict(row), ratio=asdict(row.ratio)))
    if not rows:
        raise UserError(f'--modes {" ".join(args.modes)}: the configs have none of them')
    write(args.out, about=facts, rows=rows)


def _parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description='Compare this project with the stock libraries')
    parser.add_argument('configs', nargs='*', metavar='CONFIG')
    parser.add_argument('--modes', nargs='+', choices=MODES, default=[*MODES])
    parser.add_argument(
        '--dtypes',
        nargs='+',
        choices=['float32', 'amp'],
        help='by default both, and float32 alone on a CPU that has no bfloat16 instructions',
    )
    add_options(parser, batch_size=2, size=(512, 512))
    args = parser.parse_args()
    if args.batch_size < 2 or min(args.size) < 64:
        raise UserError('--batch-size must be 2 and --size 64 or more')
    if args.device == 'cpu' and torch.cuda.is_available():
        raise UserError('--device cpu: runners take a GPU they see; set CUDA_VISIBLE_DEVICES=')
    if not args.dtypes:
        fast = args.device != 'cpu' or fast_on_cpu(torch.bfloat16)
        args.dtypes = ['float32', 'amp'] if fast else ['float32']
    return args


def _modes_of(cfg: Config, path: str, args: argparse.Namespace) -> list[str]:
    possible = {'kd', 'memory'} if cfg.model.get('kd_losses') else {*MODES} - {'kd'}
    if not args.configs and 'toy' in path:
        possible = {'loop'}
    elif not args.configs:
        # The loop shows on small steps only, and two configs of one data set share their data.
        possible -= {'loop', 'data'} if '.b2.' in path else {'loop'}
    return [mode for mode in MODES if mode in possible & {*args.modes}]


def _train_seconds(
    cfg: Config, args: argparse.Namespace, dtypes: Sequence[str]
) -> dict[tuple[str, str], list[float]]:
    """Time the training step of `stock` and `mmseg_kd`, by these names and the dtype."""
    batch = _train_batch(cfg, args)
    runs = {
        (who, dtype): train_step(model, cfg, batch, dtype, who == 'stock')
        for who, model in build_pair(cfg, args.device).items()
        for dtype in dtypes
    }
    return interleaved(runs, args.repeats, warmup=2)


def _train_batch(cfg: Config, args: argparse.Namespace) -> dict[str, list]:
    return random_batch(args.batch_size, tuple(args.size), cfg.model.decode_head.num_classes)


def _train(cfg: Config, args: argparse.Namespace) -> Iterator[Row]:
    seconds = _train_seconds(cfg, args, args.dtypes)
    for dtype in args.dtypes:
        yield Row(f'{_shape(args)}, {dtype}', seconds['stock', dtype], seconds['mmseg_kd', dtype])
    if len(args.dtypes) > 1:
        setting = f'{_shape(args)}, amp to float32'
        yield Row(setting, seconds['stock', 'float32'], seconds['mmseg_kd', 'amp'])


def _infer(cfg: Config, args: argparse.Namespace) -> Iterator[Row]:
    batch = random_batch(1, WHOLE_IMAGE, cfg.model.decode_head.num_classes)
    runs = {who: infer_step(m, batch) for who, m in build_pair(cfg, args.device).items()}
    seconds = interleaved(runs, args.repeats, warmup=2)
    yield Row('1 x {}x{}'.format(*WHOLE_IMAGE), *seconds.values())


def _memory(cfg: Config, args: argparse.Namespace) -> Iterator[Row]:
    batch = _train_batch(cfg, args)
    peaks = []
    for who, model in build_pair(cfg, args.device).items():
        step = train_step(model, cfg, batch, 'float32', who == 'stock')
        peaks.append([peak_memory(step, args.device)])
    yield Row(f'{_shape(args)}, float32', *peaks, unit='MiB')


def _data(cfg: Config, args: argparse.Namespace) -> Iterator[Row]:
    for workers, setting in enumerate(('0 workers', '1 worker')):
        seconds = interleaved(data_runs(cfg, workers, SAMPLES), args.repeats)
        yield Row(setting, *seconds.values())


def _loop(cfg: Config, args: argparse.Namespace) -> Iterator[Row]:
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        # Two runners print their settings.
        with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
            runs = loop_runs(cfg, folder)
        seconds = interleaved(runs, args.repeats)
        # Their loggers write into the folder.
        be_quiet()
    setting = f'iteration, batch {cfg.train_dataloader.batch_size}'
    yield Row(setting, seconds['stock iteration'], seconds['iteration'])
    for who, prefix in (('mmseg_kd', ''), ('stock', 'stock ')):
        whole, step = seconds[f'{prefix}iteration'], seconds[f'{prefix}step']
        yield Row(f'{who}: iteration over its step', whole, step)


MODES = dict(train=_train, kd=_train, infer=_infer, memory=_memory, data=_data, loop=_loop)


def _shape(args: argparse.Namespace) -> str:
    return f'{args.batch_size} x {args.size[0]}x{args.size[1]}'


if __name__ == '__main__':
    run_tool(main)
