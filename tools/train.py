"""Train a segmentor, plain or distilled, from a config.

python tools/train.py CONFIG [--work-dir DIR] [--resume [PATH]] [--amp]
                             [--cfg-options KEY=VALUE ...] [--launcher pytorch]
"""

# Importing torch and mmseg takes seconds, so `--help` and mistakes in the config's text come first.
REGISTER_LATE = True

from mmseg_kd.command_line import config_parser, parse_run, run_tool
from mmseg_kd.config import choose_start, enable_amp


def main() -> None:
    """Train from the config."""
    parser = config_parser('Train a segmentor, plain or distilled')
    add = parser.add_argument
    text = "continue from a checkpoint, by default the work_dir's latest"
    add('--resume', nargs='?', const='auto', metavar='PATH', help=text)
    add('--amp', action='store_true', help='train in mixed precision')
    args, cfg = parse_run(parser)
    from mmseg_kd.engine import build_runner
    from mmseg_kd.studies.time_budget import fit_time_budget

    choose_start(cfg, args.resume)
    if args.amp:
        enable_amp(cfg)
    fit_time_budget(cfg)
    build_runner(cfg).train()


if __name__ == '__main__':
    run_tool(main)
