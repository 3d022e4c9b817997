"""Count a model's parameters and multiply-accumulates, part by part, without weights and data.

python tools/analysis_tools/get_flops.py CONFIG [--shape HEIGHT WIDTH]
                                         [--cfg-options KEY=VALUE ...]

Papers call MACs FLOPs, but one MAC is two floating point operations. The student and the teachers
of a distillation config are counted separately.
"""

from mmseg_kd.command_line import at_least, config_parser, parse_with_config, run_tool
from mmseg_kd.config.models import build_models
from mmseg_kd.distillation.teachers import teachers_by_name
from mmseg_kd.models.complexity import Part, measure_complexity
from mmseg_kd.nested import value_at

from prettytable import PrettyTable


def table(parts: list[Part]) -> str:
    """Format the counts as a table; the last part is the total."""
    layout = PrettyTable(['part', 'parameters (M)', 'GMACs', 'share'], align='r', float_format='.2')
    layout.align['part'] = 'l'
    for part in parts:
        name, share = part.name, 100 * part.macs / max(parts[-1].macs, 1)
        counts = [part.macs / 1e9, f'{share:.0f} %']
        if part.training_only:
            name, counts = f'{name} (training only, not in the total)', ['-'] * 2
        layout.add_row([name, part.parameters / 1e6, *counts], divider=part is parts[-2])
    return layout.get_string()


def main() -> None:
    """Print a table for each model."""
    parser = config_parser('Count the MACs and parameters of a segmentor')
    parser.add_argument('--shape', type=at_least(1), nargs=2, help='height and width')
    args, cfg = parse_with_config(parser)
    size = args.shape or value_at(cfg, 'model.data_preprocessor.size') or (512, 512)
    teachers = teachers_by_name(cfg.model.get('teacher') or {})
    in_channels = value_at(cfg, 'model.backbone.in_channels') or 3
    print(f'one image of {size[0]}x{size[1]} (height x width), up to the logits')
    for name, model in build_models(cfg).items():
        counts = table(measure_complexity(model, size, in_channels))
        config = teachers.get(name, {}).get('config')
        title = f'{name}, {config}' if isinstance(config, str) else name
        print(f'\n{title}: {type(model).__name__}\n{counts}')
    print('\nGMACs: 10^9 multiply-accumulates, GFLOPs in papers; docs/tools.md says what counts')


if __name__ == '__main__':
    run_tool(main)
