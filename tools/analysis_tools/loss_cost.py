"""Measure what each distillation loss of a config adds to a training step.

python tools/analysis_tools/loss_cost.py CONFIG [--repeats N] [--out FILE.json]

The plain step has the config's first loss alone; each other loss, and the gradient report, is
measured on top of it, in turns. Weights are random: neither data nor checkpoints are needed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import mmseg_kd  # noqa: F401  # isort: skip  (first, because it refuses mixed installations)
import torch
from mmengine.config import Config
from prettytable import PrettyTable

from mmseg_kd.benchmark.about import about, be_quiet
from mmseg_kd.benchmark.losses import PLAIN, REPORT, loss_runs
from mmseg_kd.benchmark.measure import Spread, interleaved
from mmseg_kd.benchmark.memory import peak_memory
from mmseg_kd.benchmark.steps import build_own, random_batch
from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.command_line import add_cfg_options, at_least, run_tool
from mmseg_kd.config import load_config
from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_new_file


def main() -> None:
    """Print the table, and write the measurements where `--out` says."""
    parser = argparse.ArgumentParser(description='What each distillation loss costs')
    parser.add_argument('config', help='a config with kd_losses')
    parser.add_argument(
        '--repeats', type=at_least(1), default=7, help='measurements of each, in turns'
    )
    parser.add_argument('--batch-size', type=at_least(1), help="else the config's")
    parser.add_argument(
        '--size',
        type=at_least(1),
        nargs=2,
        metavar=('H', 'W'),
        help="else the config's data_preprocessor's",
    )
    parser.add_argument('--amp', action='store_true', help='in mixed precision')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument(
        '--threads', type=at_least(1), help='of torch on the CPU; else as many as cores'
    )
    parser.add_argument('--out', type=Path, help='a JSON file for every measurement')
    add_cfg_options(parser)
    args = parser.parse_args()
    if args.out is not None:
        check_new_file(args.out, '--out')
    cfg = load_config(args.config, args.cfg_options)
    if not cfg.model.get('kd_losses'):
        raise UserError(f'{args.config} has no model.kd_losses, so there is nothing to measure')
    if not isinstance(cfg.model.teacher.get('config'), str):
        raise UserError(f'{args.config}: model.teacher must be one teacher with a config file')
    if args.threads:
        torch.set_num_threads(args.threads)
    be_quiet()
    facts = about(args.device, args.repeats)
    print(', '.join(f'{key} {value}' for key, value in facts.items()))

    seconds, peaks = _measure(cfg, args)
    print(_table(cfg, seconds, peaks))
    if args.out:
        text = json.dumps(dict(about=facts, seconds=seconds, peak_mib=peaks), indent=1)
        with atomic_path(args.out) as partial:
            partial.write_text(text, encoding='utf-8')
        print(f'measurements: {args.out}')


def _measure(
    cfg: Config, args: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Seconds of each step, and its peak memory in MiB."""
    size = tuple(args.size or cfg.model.data_preprocessor.size)
    batch_size = args.batch_size or cfg.train_dataloader.batch_size
    batch = random_batch(batch_size, size, cfg.model.decode_head.num_classes)
    model = build_own(cfg, args.device)
    runs = loss_runs(model, cfg, batch, 'amp' if args.amp else 'float32')
    seconds = interleaved(runs, args.repeats, warmup=2)
    return seconds, {name: peak_memory(run, args.device) for name, run in runs.items()}


def _table(cfg: Config, seconds: dict[str, list[float]], peaks: dict[str, float]) -> str:
    first = next(name for name, loss in cfg.model.kd_losses.items() if loss is not None)
    hook = cfg.default_hooks.get('gradient_report') or {}
    interval = hook.get('interval', 50)
    table = PrettyTable(['on top of the plain step', 'time', 'peak memory'])
    table.align = 'l'
    plain = seconds[PLAIN]
    for name, values in seconds.items():
        if name == PLAIN:
            continue
        added = [(value - base) / base for value, base in zip(values, plain, strict=True)]
        memory = f'{100 * (peaks[name] / peaks[PLAIN] - 1):+.1f} %'
        table.add_row([name, _percent(added), memory])
        if name == REPORT:
            each = [value / interval for value in added]
            table.add_row([f'{name}, every {interval} iterations', _percent(each), ''])
    return (
        f'{table.get_string()}\n'
        f'plain step: student, teacher and {first}, {peaks[PLAIN]:.0f} MiB; '
        'median (least to greatest)'
    )


def _percent(values: list[float]) -> str:
    spread = Spread.of([100 * value for value in values])
    return f'{spread.median:+.1f} % ({spread.least:+.1f} to {spread.greatest:+.1f})'


if __name__ == '__main__':
    run_tool(main)
