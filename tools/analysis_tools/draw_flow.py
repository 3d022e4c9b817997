"""Draw where student and teacher have edges, junctions and flows around holes.

python tools/analysis_tools/draw_flow.py CONFIG CHECKPOINT --out DIR [--teacher CHECKPOINT]
    [--split val] [--images N | --names STEM ...] [--tap TAP] [--void CLASS ...]

DIR gets one PNG per image: a row for the teacher and one for the student, with the gradient, curl
and harmonic part of the flows between all pairs of class probabilities, and the junction energy.
"""

from mmseg_kd.command_line import image_parser, parse_with_config, run_tool
from mmseg_kd.config.errors import config_errors
from mmseg_kd.config.models import load_student
from mmseg_kd.deployment.segmentor import load_segmentor
from mmseg_kd.distillation import Teacher, check_taps
from mmseg_kd.distillation.teachers import teachers_by_name
from mmseg_kd.errors import UserError, unknown
from mmseg_kd.paths import check_new_folder, new_folder, relative
from mmseg_kd.reports.figures.flow_parts import write_flow_parts
from mmseg_kd.reports.figures.samples import build_dataset, indices_of

import numpy as np
from mmengine.config import Config
from mmengine.device import get_device
from torch import nn


def load_models(cfg: Config, checkpoint: str, teacher: str | None) -> dict[str, nn.Module]:
    """Load the teacher, if there is one, and the student without its losses."""
    models = {}
    own = teachers_by_name(cfg.model.get('teacher') or {}).values()
    own = [setting for setting in own if 'checkpoint' in setting]
    if teacher is not None:
        models['teacher'] = load_segmentor(teacher).model
    elif own:
        with config_errors():
            models['teacher'] = Teacher(own[0].get('config'), own[0].checkpoint).segmentor
    models = {name: model.eval().to(get_device()) for name, model in models.items()}
    return models | {'student': load_student(cfg, checkpoint)}


def main() -> None:
    """Load the models and draw the images."""
    text = 'number of images, evenly spread over the split (default: 3)'
    parser = image_parser('Draw the parts of the flows between classes', 3, text)
    add = parser.add_argument
    add('--teacher', metavar='CHECKPOINT', help="the teacher (default: the config's first)")
    text = 'the tap to draw: logits (default) as probabilities, features by principal components'
    add('--tap', default='logits', help=text)
    add('--void', nargs='+', default=[], metavar='CLASS', help='classes to leave out as void')
    args, cfg = parse_with_config(parser)
    check_new_folder(args.out, '--out')
    dataset = build_dataset(cfg, args.split)
    if args.names is None:
        count = min(args.images, len(dataset))
        # The middle image of each of `count` equal parts of the split.
        indices = [int(i) for i in (np.arange(count) + 0.5) * len(dataset) / count]
    else:
        indices = indices_of(dataset, args.names)
    classes = dataset.metainfo['classes']
    for name, hint in unknown(args.void, classes, f'there are {", ".join(classes)}'):
        raise UserError(f'--void: there is no class {name!r}: {hint}')
    void = [classes.index(name) for name in args.void]
    models = load_models(cfg, args.checkpoint, args.teacher)
    for name, model in models.items():
        check_taps(model, [args.tap], f'{name} (--tap)')
    with new_folder(args.out, '--out') as folder:
        shares = write_flow_parts(models, dataset, indices, args.tap, folder, void)
    for name, parts in shares.items():
        print(f'{name}: ' + ', '.join(f'{part} {share:.2f} %' for part, share in parts.items()))
    print(f'{len(indices)} images: {relative(args.out)}')


if __name__ == '__main__':
    run_tool(main)
