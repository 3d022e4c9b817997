"""Compare a student with its teacher on single images: errors, entropy, attention maps.

python tools/analysis_tools/compare_teacher.py CONFIG CHECKPOINT --out DIR [--baseline CHECKPOINT]
    [--split val] [--images N | --names STEM ...] [--taps TAP ...] [--lang ko]

DIR gets `index.html`, which contains all pictures, and one PNG per image.
"""

from mmseg_kd.command_line import image_parser, parse_with_config, run_tool
from mmseg_kd.config.models import build_student, load_student
from mmseg_kd.distillation import check_taps
from mmseg_kd.paths import check_new_folder, new_folder, relative
from mmseg_kd.reports.figures.samples import build_dataset
from mmseg_kd.reports.figures.teacher_comparison import choose, write_comparison
from mmseg_kd.reports.writing.language import LANGUAGES
from mmseg_kd.teacher_report.card import check_classes

from mmengine.device import get_device


def main() -> None:
    """Choose the images, draw them and write the page."""
    text = 'images of each kind (default: 1): best, worst and median by the difference in mIoU'
    parser = image_parser('Compare a student with its teacher on single images', 1, text)
    add = parser.add_argument
    add('--baseline', metavar='CHECKPOINT', help='the same model, trained without the teacher')
    add('--taps', nargs='+', metavar='TAP', help='taps of the attention maps (default: the losses)')
    add('--lang', choices=LANGUAGES, default='en', help='language of the page (default: en)')
    args, cfg = parse_with_config(parser)
    check_new_folder(args.out, '--out')
    files = {'baseline': args.baseline, 'student': args.checkpoint}
    files = {name: file for name, file in files.items() if file is not None}
    dataset = build_dataset(cfg, args.split)
    student, teachers = build_student(cfg)
    name, teacher = next(iter(teachers.items()))
    check_classes(teacher, dataset.metainfo.get('classes'))
    losses = [x for x in student.kd_losses.values() if name in student.kd_losses.teachers_of(x)]
    taps = [pair for x in losses for pair in zip(x.stages, x.teacher_stages, strict=True)]
    taps = [pair for pair in dict.fromkeys(taps) if 'logits' not in pair]
    if args.taps:
        check_taps(student, args.taps, 'student (--taps)')
        check_taps(teacher.segmentor, args.taps, 'teacher (--taps)')
        taps = [(tap, tap) for tap in dict.fromkeys(args.taps)]
    models = {name: load_student(cfg, file) for name, file in files.items()}
    models['teacher'], files['teacher'] = teacher.to(get_device()).segmentor, teacher.source
    chosen = choose(models, dataset, args.images, args.names)
    with new_folder(args.out, '--out') as folder:
        write_comparison(models, dataset, taps, folder, files, chosen, args.lang)
    print(f'{len(chosen)} images: {relative(args.out / "index.html")}')


if __name__ == '__main__':
    run_tool(main)
