"""Test a checkpoint as stock mmseg does; a process of `compare.py --modes test`.

python benchmarks/stock_test.py CONFIG CHECKPOINT --work-dir DIR
"""

import argparse

import mmseg_kd  # noqa: F401  # isort: skip  (first, because it refuses mixed installations)
from mmengine.config import Config
from mmengine.registry import init_default_scope

from measuring.stock import stock_dataloader, stock_runner


def main() -> None:
    """Test the stock counterpart of a config's model on its test split."""
    parser = argparse.ArgumentParser(description='Test as stock mmseg does')
    parser.add_argument('config')
    parser.add_argument('checkpoint')
    parser.add_argument('--work-dir', required=True)
    args = parser.parse_args()
    cfg = Config.fromfile(args.config)
    init_default_scope('mmseg')
    loader = stock_dataloader(cfg.test_dataloader)
    loader.update(batch_size=1, sampler=dict(type='DefaultSampler', shuffle=False))
    stock_runner(
        cfg,
        args.work_dir,
        load_from=args.checkpoint,
        test_dataloader=loader,
        test_cfg=dict(type='TestLoop'),
        test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']),
    ).test()


if __name__ == '__main__':
    main()
