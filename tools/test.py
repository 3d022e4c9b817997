"""Test a checkpoint on the test split.

python tools/test.py CONFIG CHECKPOINT [--split val] [--work-dir DIR] [--out DIR]
                     [--show-dir DIR] [--per-image FILE] [--tta] [--cfg-options KEY=VALUE ...]
"""

import argparse

# `--help` and a mistake in the config's text come before the seconds of importing torch and mmseg.
REGISTER_LATE = True

from mmseg_kd.command_line import add_common_arguments, apply_arguments, at_least, run_tool
from mmseg_kd.config import load_config, prepare_test, show_predictions
from mmseg_kd.errors import UserError
from mmseg_kd.paths import check_new_file


def parse_args() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Test (and evaluate) a segmentor')
    parser.add_argument('config', help='the config file')
    parser.add_argument('checkpoint', help='the checkpoint file')
    splits = ['train', 'val', 'test']
    parser.add_argument('--split', choices=splits, help='the split to test on (default: test)')
    parser.add_argument('--out', metavar='DIR', help='save predictions as PNG files of class ids')
    parser.add_argument(
        '--per-image', metavar='FILE', help='save the metrics of each image as a CSV file'
    )
    parser.add_argument('--show', action='store_true', help='show predictions in a window')
    parser.add_argument('--show-dir', metavar='DIR', help='save painted predictions')
    help_ = 'seconds between pictures of --show'
    parser.add_argument('--wait-time', type=at_least(0.0), default=2, help=help_)
    parser.add_argument('--tta', action='store_true', help='test-time augmentation')
    add_common_arguments(parser)
    return parser.parse_args()


def main() -> None:
    """Test."""
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    from mmseg_kd.engine import build_runner

    apply_arguments(cfg, args)
    prepare_test(cfg, args.checkpoint, split=args.split, out=args.out, tta=args.tta)
    if args.show or args.show_dir:
        show_predictions(cfg, args.show, args.show_dir, args.wait_time)
    if args.per_image is not None:
        check_new_file(args.per_image, '--per-image')
        evaluator = cfg.test_evaluator
        if not isinstance(evaluator, dict) or evaluator.get('type') != 'SegmentationMetric':
            raise UserError("--per-image needs test_evaluator=dict(type='SegmentationMetric')")
        evaluator.per_image = args.per_image
    build_runner(cfg).test()


if __name__ == '__main__':
    run_tool(main)
