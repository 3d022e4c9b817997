"""Measure the teacher of a student's config, without training.

python tools/misc/check_teacher.py CONFIG [--cfg-options KEY=VALUE ...]

Prints mIoU, entropy and calibration on the validation split, and the mIoU of the student's baseline
(`model.teacher.baseline`: a number, or a work_dir).
"""

from mmseg_kd.command_line import config_parser, parse_with_config, run_tool
from mmseg_kd.config.errors import config_errors
from mmseg_kd.config.models import build_student
from mmseg_kd.engine import KDRunner
from mmseg_kd.errors import UserError
from mmseg_kd.teacher_report.card import card_table, card_warnings, check_classes, teacher_card

import torch
from mmengine.evaluator import Evaluator
from mmengine.runner import set_random_seed


def main() -> None:
    """Print the table and the warnings."""
    args, cfg = parse_with_config(config_parser('Measure the teacher before training'))
    for key in ('val_dataloader', 'val_evaluator'):
        if cfg.get(key) is None:
            raise UserError(f'{args.config} has no {key}, so its teacher cannot be measured')
    _, teachers = build_student(cfg)
    # Set as in training and in the same order, so that forward passes give the same results.
    torch.backends.cudnn.benchmark = bool((cfg.get('env_cfg') or {}).get('cudnn_benchmark'))
    with config_errors():
        set_random_seed(**(cfg.get('randomness') or {}))
        data = KDRunner.build_dataloader(cfg.val_dataloader)
        evaluator = Evaluator(cfg.val_evaluator)
    for teacher in teachers.values():
        check_classes(teacher, data.dataset.metainfo.get('classes'))
    cards = {
        name: teacher_card(teacher, data, evaluator, name) for name, teacher in teachers.items()
    }
    print(card_table(cards))
    for warning in card_warnings(cards):
        print(f'warning: {warning}')


if __name__ == '__main__':
    run_tool(main)
