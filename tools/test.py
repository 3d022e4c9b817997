"""Test a checkpoint on the test split.

python tools/test.py CONFIG CHECKPOINT [--split val] [--work-dir DIR] [--out DIR]
                     [--show] [--wait-time SECONDS] [--show-dir DIR] [--per-image FILE]
                     [--tta] [--cfg-options KEY=VALUE ...] [--launcher pytorch]
"""

# Importing torch and mmseg takes seconds, so `--help` and mistakes in the config's text come first.
REGISTER_LATE = True

from mmseg_kd.command_line import at_least, config_parser, parse_run, run_tool
from mmseg_kd.config import prepare_test, show_predictions
from mmseg_kd.config.values import SPLITS
from mmseg_kd.errors import UserError
from mmseg_kd.nested import value_at
from mmseg_kd.paths import check_new_file


def main() -> None:
    """Test the checkpoint."""
    parser = config_parser('Test (and evaluate) a segmentor')
    add = parser.add_argument
    add('checkpoint', help='the checkpoint file')
    add('--split', choices=SPLITS, help='the split to test on (default: test)')
    add('--out', metavar='DIR', help='save predictions as PNG files of class ids')
    add('--per-image', metavar='FILE', help='save the metrics of each image as a CSV file')
    add('--show', action='store_true', help='show predictions in a window')
    add('--wait-time', type=at_least(0), default=2, help='seconds between pictures of --show')
    add('--show-dir', metavar='DIR', help='save painted predictions')
    add('--tta', action='store_true', help='test-time augmentation')
    args, cfg = parse_run(parser)
    from mmseg_kd.engine import build_runner

    prepare_test(cfg, args.checkpoint, args.split, args.out, args.tta)
    if args.show or args.show_dir is not None:
        show_predictions(cfg, args.show, args.show_dir, args.wait_time)
    if args.per_image is not None:
        check_new_file(args.per_image, '--per-image')
        if value_at(cfg, 'test_evaluator.type') != 'SegmentationMetric':
            raise UserError("--per-image needs test_evaluator=dict(type='SegmentationMetric')")
        cfg.test_evaluator.per_image = args.per_image
    build_runner(cfg).test()


if __name__ == '__main__':
    run_tool(main)
