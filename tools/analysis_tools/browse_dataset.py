"""Show the training data: images and labels as loaded, and as training sees them.

python tools/analysis_tools/browse_dataset.py CONFIG --output-dir DIR --not-show [--show-number N]
                                              [--mode original|transformed|concat]

If the config's sampler is `SeededInfiniteSampler`, the order and the augmentation are those of a
training with its `randomness.seed`: the first pictures are the first batch.
"""

import argparse
from io import BytesIO
from pathlib import Path

import mmseg_kd  # noqa: F401  # isort: skip  (first, because it refuses mixed installations)
from mmengine.config import Config
from tqdm import tqdm

from mmseg_kd.checkpoints import atomic_path
from mmseg_kd.command_line import add_cfg_options, at_least, run_tool
from mmseg_kd.config import load_config
from mmseg_kd.config.errors import config_errors
from mmseg_kd.datasets.training_samples import TrainingSample, TrainingSamples
from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_new_folder
from mmseg_kd.visualization import Panel, prediction_grid
from mmseg_kd.visualization.window import show_picture, window_figure

MODES = ('original', 'transformed', 'concat')
SEEN_LABELS = 'its labels (white: ignored)'


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Show the training data')
    parser.add_argument('config', help='the config file')
    parser.add_argument('--output-dir', type=Path, help='a folder for the pictures')
    parser.add_argument('--not-show', action='store_true', help='open no window')
    parser.add_argument(
        '--show-interval',
        type=at_least(0.0),
        default=2,
        help='seconds between pictures in the window',
    )
    parser.add_argument(
        '--show-number', type=int, help='how many pictures (default: as many as there are images)'
    )
    parser.add_argument(
        '--mode',
        choices=MODES,
        default='concat',
        help='as loaded, as training sees it, or both (default: %(default)s)',
    )
    add_cfg_options(parser)
    return parser.parse_args()


def check(args: argparse.Namespace) -> None:
    """Refuse arguments that would show nothing or overwrite something."""
    if args.not_show and args.output_dir is None:
        raise UserError('--not-show without --output-dir DIR shows nothing; write one')
    if args.show_number is not None and args.show_number < 1:
        raise UserError(f'--show-number: {args.show_number} is not at least 1')
    if args.output_dir is not None:
        check_new_folder(args.output_dir, '--output-dir')


def panels(sample: TrainingSample, mode: str) -> list[Panel]:
    """Return the pictures of a sample, side by side."""
    original = [Panel('image', sample.image), Panel('labels', labels=sample.labels)]
    seen = [Panel('in training', sample.seen), Panel(SEEN_LABELS, labels=sample.seen_labels)]
    return {'original': original, 'transformed': seen, 'concat': original + seen}[mode]


def build(cfg: Config) -> TrainingSamples:
    """Build the training data of a config."""
    if cfg.get('train_dataloader') is None:
        raise UserError(f'{cfg.filename} has no train_dataloader')
    seed = (cfg.get('randomness') or {}).get('seed')
    with config_errors():
        return TrainingSamples(cfg.train_dataloader, cfg.model.get('data_preprocessor'), seed)


def main() -> None:
    """Draw one picture per image."""
    args = parse_args()
    check(args)
    samples = build(load_config(args.config, args.cfg_options))
    window = None if args.not_show else window_figure('write --output-dir DIR --not-show')
    meta = samples.dataset.metainfo
    count = args.show_number or len(samples)
    for number, sample in enumerate(tqdm(samples.first(count), total=count, unit='image'), 1):
        picture = BytesIO()
        prediction_grid([panels(sample, args.mode)], meta['classes'], meta['palette'], picture)
        if args.output_dir is not None:
            name = f'{number:0{len(str(count))}d}_{Path(sample.path).stem}.png'
            with atomic_path(args.output_dir / name) as partial:
                partial.write_bytes(picture.getvalue())
        if window is not None:
            picture.seek(0)
            if not show_picture(picture, window, args.show_interval):
                window = None
                if args.output_dir is None:
                    return
    if args.output_dir is not None:
        print(f'{count} pictures: {args.output_dir}')


if __name__ == '__main__':
    run_tool(main)
