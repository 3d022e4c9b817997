"""Draw the training data: images and labels as loaded, and as training sees them.

python tools/analysis_tools/browse_dataset.py CONFIG --output-dir DIR [--show-number N]

With the sampler `SeededInfiniteSampler`, order and augmentation are those of a training with the
config's `randomness.seed`: the first pictures show the first batch.
"""

from pathlib import Path

from mmseg_kd.command_line import at_least, config_parser, parse_with_config, run_tool
from mmseg_kd.config.errors import config_errors
from mmseg_kd.datasets.training_samples import TrainingSamples
from mmseg_kd.errors import UserError
from mmseg_kd.nested import value_at
from mmseg_kd.paths import check_new_folder
from mmseg_kd.visualization import Panel, prediction_grid

from tqdm import tqdm


def main() -> None:
    """Draw one picture per image."""
    parser = config_parser('Draw the training data')
    add = parser.add_argument
    add('--output-dir', type=Path, required=True, help='a new folder for the pictures')
    add('--show-number', type=at_least(1), help='how many pictures (default: one per image)')
    args, cfg = parse_with_config(parser)
    check_new_folder(args.output_dir, '--output-dir')
    loader, seed = cfg.get('train_dataloader'), value_at(cfg, 'randomness.seed')
    if loader is None:
        raise UserError(f'{args.config} has no train_dataloader')
    with config_errors():
        samples = TrainingSamples(loader, cfg.model.get('data_preprocessor'), seed)
    folder, count = args.output_dir, args.show_number or len(samples.dataset)
    for number, sample in enumerate(tqdm(samples.first(count), total=count, unit='image'), 1):
        name = f'{number:0{len(str(count))}d}_{Path(sample.path).stem}.png'
        panels = [
            Panel('image', sample.image),
            Panel('labels', labels=sample.labels),
            Panel('in training', sample.seen),
            Panel('its labels (white: ignored)', labels=sample.seen_labels),
        ]
        prediction_grid([panels], samples.dataset.metainfo, folder / name)
    print(f'{count} pictures: {folder}')


if __name__ == '__main__':
    run_tool(main)
