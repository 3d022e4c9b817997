"""Mistakes on the command line, of every tool."""

from __future__ import annotations

from campaign.case import Case, folder, remove, write

TABLE = 'iteration,mIoU\n1,50\n'

# ruff: noqa: E501
# fmt: off
CASES = [
    # train.py
    Case('a config that is misspelt', 'train.py confg.py', 'confg.py'),
    Case('a checkpoint for a config', 'train.py done/iter_2.pth', 'iter_2.pth'),
    Case('a work_dir for a config', 'train.py done', 'done'),
    Case('resume from what is missing', 'train.py config.py --resume lost.pth', 'lost.pth'),
    Case('resume from a folder', 'train.py config.py --resume done', 'done'),
    Case('a run in a run', 'train.py config.py --work-dir done', 'done'),
    Case('a misspelt flag', 'train.py config.py --workdir x', '--workdir'),
    Case('a misspelt key', 'train.py config.py --cfg-options train_cfg.max_iter=5', 'max_iter'),
    Case('a number in words', 'train.py config.py --cfg-options train_cfg.max_iters=ten', 'max_iters'),
    Case('an override without a key', 'train.py config.py --cfg-options =5', '=5'),
    Case('an override with two dots', 'train.py config.py --cfg-options train_cfg..max_iters=5', 'train_cfg..max_iters'),
    Case('an override that ends in a dot', 'train.py config.py --cfg-options model.=5', 'model.'),
    Case('a step beyond the pipeline', 'train.py config.py --cfg-options train_dataloader.dataset.pipeline.9.type=X', 'pipeline.9'),
    Case('a number in the place of a hook', 'train.py config.py --cfg-options default_hooks.checkpoint=5', 'default_hooks.checkpoint'),
    Case('a key below a word', 'train.py config.py --cfg-options work_dir.name=x', 'work_dir'),
    Case('no model', 'train.py config.py --cfg-options model=None', 'model'),
    Case('overrides with commas', 'train.py config.py --cfg-options train_cfg.max_iters=5,train_cfg.val_interval=5', 'max_iters'),
    Case('a launcher without its launcher', 'train.py config.py --launcher pytorch', '--launcher pytorch'),
    Case('slurm outside slurm', 'train.py config.py --launcher slurm', '--launcher slurm'),
    # test.py
    Case('no checkpoint', 'test.py config.py', 'checkpoint'),
    Case('a split that is misspelt', 'test.py config.py teacher.pth --split valid', '--split'),
    Case('config and checkpoint swapped', 'test.py teacher.pth config.py', 'teacher.pth'),
    Case('predictions over the labels', 'test.py cam.py teacher.pth --out camvid/testannot', '--out'),
    Case('pictures over the images', 'test.py cam.py teacher.pth --show-dir camvid/test', '--show-dir'),
    Case('a wait that is negative', 'test.py config.py teacher.pth --show-dir x --wait-time -3', '--wait-time'),
    Case('augmentation without a pipeline', 'test.py config.py teacher.pth --tta', '--tta'),
    # study.py
    Case('no command', 'study.py study.py', 'COMMAND'),
    Case('a study that is missing', 'study.py run lost.py', 'lost.py'),
    Case('a config for a study', 'study.py run config.py --dry-run', 'study'),
    Case('a study not begun', 'study.py status study.py', 'study.py'),
    Case('a report of nothing', 'study.py report study.py', 'study.py'),
    Case('a database without a driver', 'study.py run study.py --storage nosql://here/x', '--storage'),
    Case('a config for a storage', 'study.py run study.py --storage config.py', 'config.py'),
    Case('a work_dir that is a file', 'study.py run study.py --work-dir config.py', 'config.py'),
    Case('a language that is not there', 'study.py report study.py --lang fr', '--lang'),
    # misc
    Case('no teacher to check', 'misc/check_teacher.py config.py', 'teacher'),
    Case('a record over a file', 'misc/check_teacher.py student.py --out config.py', 'config.py'),
    Case('a record of no folder', 'misc/check_teacher.py student.py --out config.py/a.json', 'config.py'),
    Case('one side', 'misc/list_taps.py config.py --shape 64', '--shape'),
    Case('a negative side', 'misc/list_taps.py config.py --shape -64 64', '--shape'),
    Case('a model that is unknown', 'misc/list_taps.py config.py --cfg-options model.backbone.type=Nothing', 'Nothing'),
    Case('a config as text', 'misc/print_config.py config.py --save-path new.txt', 'new.txt'),
    Case('a config over a config', 'misc/print_config.py config.py --save-path teacher.py', 'teacher.py'),
    Case('nothing to publish', 'misc/publish_model.py lost.pth new.pth', 'lost.pth'),
    Case('a config to publish', 'misc/publish_model.py config.py new.pth', 'config.py'),
    Case('a format that is unknown', 'misc/publish_model.py teacher.pth new.onnx', 'new.onnx'),
    Case('a folder to publish to', 'misc/publish_model.py teacher.pth done/', 'done'),
    # camvid.py
    Case('one path', 'dataset_converters/camvid.py camvid', 'SRC DEST'),
    Case('onto itself', 'dataset_converters/camvid.py camvid camvid', 'camvid'),
    Case('no copy', 'dataset_converters/camvid.py done new', 'done'),
    Case('a download onto data', 'dataset_converters/camvid.py --download camvid', 'camvid'),
    Case('an address that is none', 'dataset_converters/camvid.py --download new --url camvid.zip', '--url'),
    Case('another split of other names', 'dataset_converters/camvid.py camvid new --split segnet', '0.png'),
    # analysis_tools
    Case('no logs', 'analysis_tools/analyze_logs.py lost --out new.png', 'lost'),
    Case('a key that no one logged', 'analysis_tools/analyze_logs.py done --keys miou --out new.png', '--keys'),
    Case('a picture of no format', 'analysis_tools/analyze_logs.py done --out new.xyz', 'new.xyz'),
    Case('three names for one log', 'analysis_tools/analyze_logs.py done --legend a b c --out new.png', '--legend'),
    Case('no repeats', '../benchmarks/compare.py config.py --repeats 0', '--repeats'),
    Case('a device that is unknown', '../benchmarks/compare.py config.py --device tpu9', '--device'),
    Case('negative threads', '../benchmarks/compare.py config.py --threads -2', '--threads'),
    Case('pictures nowhere', 'analysis_tools/browse_dataset.py config.py', '--output-dir'),
    Case('pictures among images', 'analysis_tools/browse_dataset.py config.py --output-dir camvid/train', '--output-dir'),
    Case('no picture', 'analysis_tools/browse_dataset.py config.py --output-dir new --show-number 0', '--show-number'),
    Case('no predictions', 'analysis_tools/confusion_matrix.py config.py empty new', '0000.png', (folder('empty'),)),
    Case('colours that are unknown', 'analysis_tools/confusion_matrix.py config.py done new --color-theme Bluess', '--color-theme'),
    Case('a matrix over a matrix', 'analysis_tools/confusion_matrix.py config.py done old', 'confusion_matrix.csv', (write('old/confusion_matrix.csv', 'mine'),)),
    Case('three sides', 'analysis_tools/get_flops.py config.py --shape 64 64 3', '--shape'),
    Case('an image of nothing', 'analysis_tools/get_flops.py config.py --shape 0', '--shape'),
    Case('an image below the stride', 'analysis_tools/get_flops.py config.py --shape 4', '--shape'),
    Case('losses of a baseline', '../benchmarks/loss_cost.py config.py', 'kd_losses'),
    Case('a batch of none', '../benchmarks/loss_cost.py student.py --batch-size 0', '--batch-size'),
    Case('a size that is negative', '../benchmarks/loss_cost.py student.py --size -64 64', '--size'),
    Case('costs on no device', '../benchmarks/loss_cost.py student.py --device cdua', '--device'),
    # report.py
    Case('no runs', 'analysis_tools/report.py lost', 'lost'),
    Case('a config for a run', 'analysis_tools/report.py config.py', 'config.py'),
    Case('a report in a file', 'analysis_tools/report.py run.csv --out config.py', 'config.py', (write('run.csv', TABLE),)),
    Case('a baseline that is missing', 'analysis_tools/report.py run.csv --baseline base', '--baseline', (write('run.csv', TABLE),)),
    Case('images without images', 'analysis_tools/report.py done --images many', '--images'),
    Case('a run before its first line', 'analysis_tools/report.py done', 'done', (remove('done'), folder('done'))),
]
