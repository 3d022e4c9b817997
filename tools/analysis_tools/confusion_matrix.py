"""Draw and write the confusion matrix of saved predictions.

python tools/test.py CONFIG CHECKPOINT --out PREDICTIONS
python tools/analysis_tools/confusion_matrix.py CONFIG PREDICTIONS OUT_DIR [--split val]

OUT_DIR gets `confusion_matrix.png`, and `confusion_matrix.csv` with the counted pixels.
"""

from pathlib import Path

from mmseg_kd.checkpoints import write_csv
from mmseg_kd.command_line import config_parser, parse_with_config, run_tool
from mmseg_kd.config.errors import config_errors
from mmseg_kd.config.values import SPLITS
from mmseg_kd.evaluation.saved_predictions import score_saved, worst_confusions
from mmseg_kd.paths import check_new_file
from mmseg_kd.reports.figures.samples import build_dataset
from mmseg_kd.visualization.canvas import canvas
from mmseg_kd.visualization.confusion_figure import draw_confusion

from mmseg.registry import METRICS

NAME = 'confusion_matrix'


def main() -> None:
    """Count the pixels, write the table and draw the matrix."""
    parser = config_parser('Confusion matrix of saved predictions')
    add = parser.add_argument
    add('prediction_path', type=Path, help='the folder that tools/test.py --out wrote')
    add('save_dir', type=Path, help='the folder to write to')
    add('--split', choices=SPLITS, help='the split of the predictions (default: test)')
    args, cfg = parse_with_config(parser)
    for suffix in ('.png', '.csv'):
        check_new_file(args.save_dir / f'{NAME}{suffix}', 'OUT_DIR')
    dataset = build_dataset(cfg, args.split, default='test')
    settings, evaluator = dict(type='SegmentationMetric'), cfg.get('test_evaluator')
    if isinstance(evaluator, dict) and evaluator.get('type') == settings['type']:
        settings = {**evaluator, 'output_dir': None, 'format_only': False}
    with config_errors():
        metric = METRICS.build(settings)
    metrics = score_saved(dataset, args.prediction_path, metric)
    classes = dataset.metainfo['classes']
    matrix = metric.confusion.long().numpy()
    rows = ([name, *row] for name, row in zip(classes, matrix.tolist(), strict=True))
    write_csv(args.save_dir / f'{NAME}.csv', [['truth \\ predicted', *classes], *rows])
    with canvas(args.save_dir / f'{NAME}.png', dpi=120) as figure:
        draw_confusion(figure, matrix, classes, f'mIoU {metrics["mIoU"]:.2f}')
    print('  '.join(f'{name} {value:.2f}' for name, value in metrics.items()))
    for truth, predicted, share in worst_confusions(matrix, classes):
        print(f'{100 * share:3.0f} % of {truth} is taken for {predicted}')
    print(f'{NAME}.png and .csv: {args.save_dir}')


if __name__ == '__main__':
    run_tool(main)
