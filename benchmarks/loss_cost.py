"""Measure what each distillation loss of a config adds to a training step.

python benchmarks/loss_cost.py CONFIG [--repeats N] [--out FILE.json]

The plain step has the config's first loss alone. Each other loss, and the gradient report, is
measured on top of it, in turns. Weights are random: neither data nor checkpoints are needed.
"""

import argparse

import mmseg_kd  # noqa: F401  # isort: skip  (first, because it refuses mixed installations)
from mmengine.config import Config
from prettytable import PrettyTable

from measuring.command import start, write
from measuring.steps import PLAIN, REPORT, build_own, loss_runs, random_batch
from measuring.timing import Spread, interleaved, peak_memory
from mmseg_kd.command_line import run_tool
from mmseg_kd.config import load_config
from mmseg_kd.errors import UserError


def main() -> None:
    """Print the table, and write the measurements where `--out` says."""
    parser = argparse.ArgumentParser(description='What each distillation loss costs')
    parser.add_argument('config', help='a config with kd_losses')
    args, facts = start(parser)
    cfg = load_config(args.config, args.cfg_options)
    if not cfg.model.get('kd_losses'):
        raise UserError(f'{args.config} has no model.kd_losses, so there is nothing to measure')
    if not isinstance(cfg.model.teacher.get('config'), str):
        raise UserError(f'{args.config}: model.teacher must be one teacher with a config file')
    size = tuple(args.size or cfg.model.data_preprocessor.size)
    batch_size = args.batch_size or cfg.train_dataloader.batch_size
    batch = random_batch(batch_size, size, cfg.model.decode_head.num_classes)
    model = build_own(cfg, args.device)
    runs = loss_runs(model, cfg, batch, args.amp)
    seconds = interleaved(runs, args.repeats, warmup=2)
    peaks = {name: peak_memory(run, args.device) for name, run in runs.items()}
    print(_table(cfg, seconds, peaks))
    write(args.out, about=facts, seconds=seconds, peak_mib=peaks)


def _table(cfg: Config, seconds: dict[str, list[float]], peaks: dict[str, float]) -> str:
    first = next(name for name, loss in cfg.model.kd_losses.items() if loss is not None)
    interval = (cfg.default_hooks.get('gradient_report') or {}).get('interval', 50)
    table = PrettyTable(['on top of the plain step', 'time', 'peak memory'], align='l')
    plain = seconds[PLAIN]
    for name in (name for name in seconds if name != PLAIN):
        added = [100 * (x / base - 1) for x, base in zip(seconds[name], plain, strict=True)]
        memory = f'{100 * (peaks[name] / peaks[PLAIN] - 1):+.1f} %'
        table.add_row([name, f'{Spread.of(added):+.1f} %', memory])
        if name == REPORT:
            each = Spread.of([value / interval for value in added])
            table.add_row([f'{name}, every {interval} iterations', f'{each:+.1f} %', ''])
    return (
        f'{table.get_string()}\n'
        f'plain step: student, teacher and {first}, {peaks[PLAIN]:.0f} MiB; '
        'median (least to greatest)'
    )


if __name__ == '__main__':
    run_tool(main)
