"""Draw and write the confusion matrix of saved predictions.

python tools/test.py CONFIG CHECKPOINT --out PREDICTIONS
python tools/analysis_tools/confusion_matrix.py CONFIG PREDICTIONS OUT_DIR [--split val] [--show]

OUT_DIR gets `confusion_matrix.png`; `.csv` and `.json` have the numbers of pixels behind it.
"""

import argparse
import csv
import json
from collections.abc import Sequence
from pathlib import Path

import mmseg_kd  # noqa: F401  # isort: skip  (first, because it refuses mixed installations)
import matplotlib.pyplot as plt
import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.logging import MMLogger
from mmseg.registry import DATASETS, METRICS

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.command_line import add_cfg_options, run_tool
from mmseg_kd.config import load_config
from mmseg_kd.config.errors import config_errors
from mmseg_kd.config.preparing import choose_split
from mmseg_kd.errors import UserError
from mmseg_kd.evaluation import SegmentationMetric
from mmseg_kd.evaluation.saved_predictions import score_saved, worst_confusions
from mmseg_kd.paths import check_new_file
from mmseg_kd.visualization.confusion_figure import draw_confusion
from mmseg_kd.visualization.fonts import font_settings
from mmseg_kd.visualization.window import window_figure

NAME = 'confusion_matrix'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Confusion matrix of saved predictions')
    parser.add_argument('config', help='the config file')
    parser.add_argument(
        'prediction_path', type=Path, help='the folder that tools/test.py --out filled'
    )
    parser.add_argument('save_dir', type=Path, help='the folder to write to')
    parser.add_argument('--show', action='store_true', help='show the picture in a window too')
    parser.add_argument(
        '--split', choices=['train', 'val', 'test'], help='the split predicted (default: test)'
    )
    parser.add_argument(
        '--color-theme', default='Blues', help="one of matplotlib's colour maps (default: Blues)"
    )
    parser.add_argument('--title', default='Normalised confusion matrix', help='title')
    add_cfg_options(parser)
    return parser.parse_args()


def check(args: argparse.Namespace) -> None:
    """Refuse arguments that would fail after the work is done."""
    folder = args.prediction_path
    if folder.is_file():
        raise UserError(
            f'{folder} is a file, not a folder of predictions; make one: '
            f'python tools/test.py {args.config} CHECKPOINT --out DIR'
        )
    if not folder.is_dir():
        raise UserError(f'the folder of predictions {folder} does not exist')
    if args.color_theme not in colormaps:
        raise UserError(f'--color-theme: matplotlib has no colour map {args.color_theme!r}')
    for suffix in ('.png', '.csv', '.json'):
        check_new_file(args.save_dir / f'{NAME}{suffix}', 'OUT_DIR')


def build(cfg: Config, split: str | None) -> tuple[BaseDataset, SegmentationMetric]:
    """The data set with the labels, and a metric with the config's settings."""
    if cfg.get('test_dataloader') is None:
        raise UserError(f'{cfg.filename} has no test_dataloader, so there are no labels')
    if split is not None:
        choose_split(cfg, split)
    settings = dict(type='SegmentationMetric')
    evaluator = cfg.get('test_evaluator')
    if isinstance(evaluator, dict) and evaluator.get('type') == settings['type']:
        settings = {**evaluator, 'output_dir': None, 'format_only': False}
    with config_errors():
        return DATASETS.build(cfg.test_dataloader.dataset), METRICS.build(settings)


def write(folder: Path, matrix: np.ndarray, classes: Sequence[str], metrics: dict) -> None:
    """Write the counts as CSV, row = truth, and as JSON with the metrics."""
    with (
        atomic_path(folder / f'{NAME}.csv') as partial,
        partial.open('w', encoding='utf-8', newline='') as file,
    ):
        writer = csv.writer(file)
        writer.writerow(['truth \\ predicted', *classes])
        writer.writerows([name, *row] for name, row in zip(classes, matrix.tolist(), strict=True))
    record = dict(classes=list(classes), pixels=matrix.tolist(), metrics=metrics)
    with atomic_path(folder / f'{NAME}.json') as partial:
        partial.write_text(json.dumps(record), encoding='utf-8')


def main() -> None:
    """Count, write, draw."""
    args = parse_args()
    check(args)
    cfg = load_config(args.config, args.cfg_options)
    # The metric's table is in the log of the test already.
    MMLogger.get_instance(NAME, log_level='ERROR')
    dataset, metric = build(cfg, args.split)
    figure = Figure()
    if args.show:
        figure = window_figure('leave out --show; the picture is in OUT_DIR')
    metrics = score_saved(dataset, args.prediction_path, metric)
    classes = dataset.metainfo['classes']
    matrix = metric.confusion.long().numpy()
    write(args.save_dir, matrix, classes, metrics)
    title = f'{args.title}  (mIoU {metrics["mIoU"]:.2f})' if args.title else None
    plt.rcParams.update(font_settings())
    draw_confusion(figure, matrix, classes, title, args.color_theme)
    with atomic_path(args.save_dir / f'{NAME}.png') as partial:
        figure.savefig(partial, dpi=120)
    print('  '.join(f'{name} {value:.2f}' for name, value in metrics.items()))
    for truth, predicted, share in worst_confusions(matrix, classes):
        print(f'{100 * share:3.0f} % of {truth} is taken for {predicted}')
    print(f'{NAME}.png, .csv and .json: {args.save_dir}')
    if args.show:
        plt.show()


if __name__ == '__main__':
    run_tool(main)
