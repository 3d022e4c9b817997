"""Compare this project's models with the stock ones, in one process, in turns.

python benchmarks/compare.py [CONFIG ...] [--amp] [--out FILE.json]

Ratios above 1 mean faster, or less memory, than stock: mmseg's MixVisionTransformer and
SegformerHead. Without CONFIG: SegFormer-B0, B2, and B0 taught by B2.
"""

import argparse
import copy
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import mmseg_kd  # noqa: F401  # isort: skip  (first, because it refuses mixed installations)
import torch
from mmengine.config import Config

from measuring.command import start, write
from measuring.steps import build_pair, random_batch, train_step
from measuring.timing import interleaved, peak_memory, ratio
from mmseg_kd.command_line import run_tool
from mmseg_kd.config import load_config

CONFIGS = (
    'local_configs/segformer/B0/segformer.b0.512x512.camvid.py',
    'local_configs/segformer/B2/segformer.b2.512x512.camvid.py',
    'local_configs/segformer/B0/segformer.b0.512x512.camvid.kd.py',
)
WHOLE_IMAGE = (360, 480)


def main() -> None:
    """Print each ratio, and write the measurements where `--out` says."""
    parser = argparse.ArgumentParser(description='Compare the models with the stock ones')
    parser.add_argument('configs', nargs='*', metavar='CONFIG')
    args, facts = start(parser)
    print(f'stock / mmseg_kd, median (least to greatest), n = {args.repeats}')
    rows = []
    for path in args.configs or CONFIGS:
        for what, unit, both in _measure(load_config(path, args.cfg_options), args):
            spread = ratio(both['stock'], both['mmseg_kd'])
            print(f'{Path(path).name:40}{what:16}{spread:.2f}', flush=True)
            rows.append(dict(config=path, what=what, unit=unit, **both, ratio=spread._asdict()))
    write(args.out, about=facts, rows=rows)


def _measure(
    cfg: Config, args: argparse.Namespace
) -> Iterator[tuple[str, str, dict[str, list[float]]]]:
    pair = build_pair(cfg, args.device)
    batch = random_batch(args.batch_size, tuple(args.size), cfg.model.decode_head.num_classes)
    steps = {
        # A copy, because a step replaces the labels by those on its device.
        'stock': train_step(pair['stock'], cfg, copy.deepcopy(batch), args.amp, 'stock'),
        'mmseg_kd': train_step(pair['mmseg_kd'], cfg, batch, args.amp),
    }
    yield 'training step', 's', interleaved(steps, args.repeats, warmup=2)
    peaks = {who: [peak_memory(step, args.device)] for who, step in steps.items()}
    yield 'training memory', 'MiB', peaks
    if not cfg.model.get('kd_losses'):
        image = random_batch(1, WHOLE_IMAGE, cfg.model.decode_head.num_classes)
        steps = {who: partial(model.eval().test_step, image) for who, model in pair.items()}
        with torch.no_grad():
            seconds = interleaved(steps, args.repeats, warmup=2)
        yield 'inference', 's', seconds


if __name__ == '__main__':
    run_tool(main)
