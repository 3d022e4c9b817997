"""Damaged or foreign checkpoints, work_dirs, studies and teachers."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from campaign.case import (
    Case,
    Step,
    bend,
    copy,
    cut,
    folder,
    mine,
    move,
    remove,
    replace,
    weight,
    write,
)
from safetensors.torch import save_file

TEST, RESUME = 'test.py config.py bad.pth', 'train.py config.py --work-dir done --resume'
REPORT = 'analysis_tools/report.py done --out new --images 0'
STUDY = 'study.py run study.py --work-dir studied'
PAGE = '<!DOCTYPE html><html><body>Not found</body></html>'
POINTER = 'version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 12345\n'


def bad(change: Callable[[dict], Any]) -> tuple[Step, ...]:
    """A checkpoint like the teacher's, changed."""
    return copy('teacher.pth', 'bad.pth'), bend('bad.pth', change)


def latest(change: Callable[[dict], Any]) -> tuple[Step, ...]:
    """A work_dir whose last checkpoint is changed."""
    return (bend('done/iter_2.pth', change),)


def weights(change: Callable[[dict], Any]) -> tuple[Step, ...]:
    """A checkpoint whose weights are changed."""
    return bad(lambda content: dict(state_dict=change(content['state_dict'])))


def one(change: Callable[[torch.Tensor], torch.Tensor]) -> tuple[Step, ...]:
    """A checkpoint of which one tensor is changed."""

    def change_one(content: dict) -> None:
        tensors, name = weight(content)
        tensors[name] = change(tensors[name])

    return bad(change_one)


def archive() -> None:
    """Write a zip of something else."""
    with zipfile.ZipFile('bad.pth', 'w') as file:
        file.writestr('photos/1.txt', 'holiday')


def scalars(text: str | bytes) -> Step:
    """Replace what a run logged."""

    def step() -> None:
        (file,) = Path('done').glob('*/vis_data/scalars.json')
        write(str(file), text)()

    return step


def state(change: Callable[[dict], Any]) -> Step:
    """Change `study.json`; what `change` returns, if anything, takes its place."""

    def step() -> None:
        file = Path('studied/study.json')
        content = json.loads(file.read_text(encoding='utf-8'))
        changed = change(content)
        file.write_text(json.dumps(content if changed is None else changed), encoding='utf-8')

    return step


def study(name: str, says: str, text: str, command: str = 'study.py run mine.py') -> Case:
    """A study's file with a mistake; RUN is a sound run."""
    text = text.replace('RUN', "dict(config='config.py')")
    return Case(name, f'{command} --work-dir studied', says, (write('mine.py', text),))


def teacher(name: str, says: str, *steps: Step) -> Case:
    """A student whose teacher is damaged."""
    return Case(name, 'train.py student.py', says, steps)


LR = "'optim_wrapper.optimizer.lr'"

# ruff: noqa: E501
# fmt: off
CASES = [
    # A checkpoint to test.
    Case('cut short', TEST, 'bad.pth', (copy('teacher.pth', 'bad.pth'), cut('bad.pth'))),
    Case('of no byte', TEST, 'bad.pth', (write('bad.pth', ''),)),
    Case('a web page', TEST, 'bad.pth', (write('bad.pth', PAGE),)),
    Case('a pointer of git', TEST, 'bad.pth', (write('bad.pth', POINTER),)),
    Case('an archive of photos', TEST, 'bad.pth', (archive,)),
    Case('zeros', TEST, 'bad.pth', (write('bad.pth', bytes(4096)),)),
    Case('a list', TEST, 'bad.pth', bad(lambda content: [content])),
    Case('no tensor', TEST, 'bad.pth', bad(lambda content: dict(state_dict=dict(a=1)))),
    Case('nothing', TEST, 'bad.pth', bad(lambda content: {})),
    Case('weights of another framework', TEST, 'bad.pth', weights(lambda w: {f'model.{k}': v for k, v in w.items()})),
    Case('half the weights', TEST, 'bad.pth', weights(lambda w: dict(list(w.items())[::2]))),
    Case('other classes', TEST, 'classes', weights(lambda w: {k: v[:11] if 'linear_pred' in k else v for k, v in w.items()})),
    Case('a tensor turned', TEST, 'linear_pred', one(lambda t: t.transpose(0, 1).contiguous())),
    Case('complex numbers', TEST, 'linear_pred', one(lambda t: t.to(torch.complex64))),
    Case('whole numbers', TEST, 'linear_pred', one(lambda t: (t * 100).to(torch.int8))),
    Case('a tensor of another kind', TEST, 'linear_pred', one(lambda t: t.to_sparse())),
    Case('safetensors that are not', 'test.py config.py bad.safetensors', 'bad.safetensors', (copy('teacher.pth', 'bad.safetensors'),)),
    Case('safetensors under another name', TEST, 'bad.pth', (lambda: save_file({'a': torch.ones(2)}, 'bad.pth'),)),
    Case('a checkpoint to publish cut short', 'misc/publish_model.py bad.pth new.pth', 'bad.pth', (copy('teacher.pth', 'bad.pth'), cut('bad.pth', 0.9))),
    # Weights to begin with.
    Case('weights of ImageNet that are text', 'train.py mine.py', 'bad.pth', (write('bad.pth', 'mit_b0'), mine("model = dict(pretrained='bad.pth')"))),
    Case('weights of ImageNet of another size', 'train.py mine.py', 'bad.pth', (*weights(lambda w: {k.removeprefix('backbone.'): torch.cat([v, v]) for k, v in w.items() if k.startswith('backbone.')}), mine("model = dict(pretrained='bad.pth')"))),
    Case('weights of ImageNet in a folder', 'train.py mine.py', 'done', (mine("model = dict(pretrained='done')"),)),
    Case('weights of a model in a folder', 'train.py mine.py', 'done', (mine("load_from = 'done'"),)),
    Case('weights of a student of another width', 'train.py mine.py', 'teacher.pth', (mine("load_from = 'teacher.pth'\nmodel = dict(decode_head=dict(embed_dim=24))"),)),
    # A run to resume.
    Case('the last checkpoint cut short', RESUME, 'iter_2.pth', (cut('done/iter_2.pth'),)),
    Case('the best checkpoint', 'train.py config.py --resume bad.pth', 'bad.pth', bad(lambda c: dict(state_dict=c['state_dict'], meta=c['meta']))),
    Case('a run of another width', 'train.py mine.py --work-dir done --resume', 'iter_2.pth', (mine('model = dict(decode_head=dict(embed_dim=24))'),)),
    Case('a run of another optimizer', 'train.py mine.py --work-dir done --resume', 'iter_2.pth', (mine("train_cfg = dict(max_iters=4)\noptim_wrapper = dict(optimizer=dict(_delete_=True, type='SGD', lr=0.01, weight_decay=0.01))"),)),
    Case('an iteration below zero', RESUME, 'iter_2.pth', latest(lambda c: c['meta'].update(iter=-3))),
    Case('no schedule', RESUME, 'iter_2.pth', latest(lambda c: c.update(param_schedulers=[]))),
    Case('fewer parameters', RESUME, 'iter_2.pth', latest(lambda c: c['optimizer']['param_groups'][0].update(params=[0]))),
    Case('a run of another loss', 'train.py mine.py --work-dir taught --resume', 'iter_2.pth', (mine("train_cfg = dict(max_iters=4)\nmodel = dict(kd_losses=dict(fit=dict(type='FitNet', stages=['stage4'], student_channels=[32], teacher_channels=[32])))", 'student.py'),)),
    # A work_dir.
    Case('a config that is a folder', 'train.py config.py', 'config.py', (folder('run/config.py'),)),
    Case('a work_dir below a file', 'train.py config.py --work-dir teacher.pth/run', 'work_dir', ()),
    Case('no line', REPORT, 'scalars.json', (scalars(''),)),
    Case('bytes', REPORT, 'scalars.json', (scalars(bytes(range(128, 256))),)),
    Case('lists', REPORT, 'scalars.json', (scalars('[1, 2]\n[3, 4]\n'),)),
    Case('scores in words', REPORT, 'done', (scalars('{"mIoU": "good", "step": 2}\n'),)),
    Case('a report that is a folder', 'analysis_tools/report.py done --images 0', 'report.md', (folder('done/report.md'),)),
    Case('figures that are a file', 'analysis_tools/report.py done --images 0', 'figures', (write('done/figures', 'mine'),)),
    Case('curves of bytes', 'analysis_tools/analyze_logs.py done --out new.png', 'scalars.json', (scalars(bytes(range(128, 256))),)),
    Case('curves of no number', 'analysis_tools/analyze_logs.py done --out new.png', 'scalars.json', (scalars('{"mIoU": "good", "step": 2}\n'),)),
    # A study's folder.
    Case('a state that is a list', 'analysis_tools/report.py studied --out new', 'study.json', (state(lambda s: [s]),)),
    Case('a state that is cut short', 'analysis_tools/report.py studied --out new', 'study.json', (cut('studied/study.json'),)),
    Case('a state of bytes', 'analysis_tools/report.py studied --out new', 'study.json', (write('studied/study.json', b'\xff\xfe\x00'),)),
    Case('a run without a state', 'analysis_tools/report.py studied --out new', 'study.json', (state(lambda s: s['runs'][0].pop('state')),)),
    Case('a run that is a name', 'analysis_tools/report.py studied --out new', 'study.json', (state(lambda s: s.update(runs=['one'])),)),
    Case('an objective that is a name', 'analysis_tools/report.py studied --out new', 'study.json', (state(lambda s: s.update(objective='mIoU')),)),
    Case('a place that is a number', 'analysis_tools/report.py studied --out new', 'study.json', (state(lambda s: s['runs'][0].update(work_dir=7)),)),
    Case('a study of nothing', 'analysis_tools/report.py studied --out new', 'studied', (state(lambda s: s.update(runs=[])),)),
    Case('a storage that is text', STUDY, 'study.db', (write('studied/study.db', 'study\n' * 999),)),
    Case('a storage cut short', STUDY, 'study.db', (cut('studied/study.db', 0.3),)),
    Case('a storage that is a folder', STUDY, 'study.db', (folder('studied/study.db'),)),
    Case('a journal of something else', f'{STUDY} --storage run.log', 'run.log', (write('run.log', '{"a": 1}\n{"b": 2}\n'),)),
    # A study's file.
    study('no runs', 'study.runs', 'study = dict(name="a")'),
    study('runs as a list', 'study.runs', 'study = dict(runs=[RUN])'),
    study('a run by its file', 'study.runs.a', "study = dict(runs=dict(a='config.py'))"),
    study('a file of no model', 'empty.py', "study = dict(runs=dict(a=dict(config='empty.py')))"),
    study('a name with a way up', 'study.name', 'study = dict(name="../up", runs=dict(a=RUN))'),
    study('seeds in quotes', 'seeds', "study = dict(runs=dict(a=RUN), seeds=['0', '1'])"),
    study('a key to vary that is missing', 'lrr', "study = dict(runs=dict(a=RUN), grid=dict(run='a', space={'optim_wrapper.optimizer.lrr': [1]}))"),
    study('a grid and a search', 'grid', f"study = dict(runs=dict(a=RUN), grid=dict(run='a', space={{{LR}: [1]}}), search=dict())"),
    study('bounds of nan', 'lr', f"study = dict(runs=dict(a=RUN), search=dict(run='a', trials=2, space={{{LR}: dict(type='uniform', low=float('nan'), high=1)}}))"),
    study('bounds without end', 'lr', f"study = dict(runs=dict(a=RUN), search=dict(run='a', trials=2, space={{{LR}: dict(type='uniform', low=0, high=float('inf'))}}))"),
    study('a direction that is unknown', 'direction', "study = dict(runs=dict(a=RUN), objective=dict(direction='up'))"),
    study('a need of a key that is missing', 'techer', "study = dict(runs=dict(a=RUN, b=dict(config='student.py', needs={'model.techer.checkpoint': 'a'})))"),
    study('an option that is no dict', 'options', "study = dict(runs=dict(a=RUN), options=['train_cfg.max_iters=5'])"),
    # A teacher.
    teacher('a teacher cut short', 'teacher.pth', cut('teacher.pth')),
    teacher('a teacher that is gone', 'teacher.pth', remove('teacher.pth')),
    teacher('a teacher that is a folder', 'teacher.pth', folder('teacher.pth')),
    teacher('a teacher of another size', 'teacher.pth', replace('teacher.py', 'embed_dim=16', 'embed_dim=24')),
    teacher('a teacher of other classes', 'classes', bend('teacher.pth', lambda c: c.update(state_dict={k: v[:11] if 'linear_pred' in k else v for k, v in c['state_dict'].items()})), replace('teacher.py', 'num_classes=12', 'num_classes=11')),
    teacher('a teacher with classes reversed', 'teacher.pth', bend('teacher.pth', lambda c: c['meta']['dataset_meta'].update(classes=c['meta']['dataset_meta']['classes'][::-1]))),
    teacher('a teacher whose classes are a number', 'teacher.pth', bend('teacher.pth', lambda c: c['meta'].update(dataset_meta=[1, 2]))),
    teacher('a config of a teacher without model', 'teacher.py', write('teacher.py', 'x = 1\n')),
    teacher('a config of a teacher that is broken', 'teacher.py', write('teacher.py', 'model = dict(\n')),
    teacher('a model that is a number', 'teacher.py', write('teacher.py', 'model = 5\n')),
    teacher('a model without backbone', 'teacher.py', write('teacher.py', "model = dict(type='EncoderDecoder')\n")),
    teacher('a backbone that is unknown', 'MixTransformr', replace('teacher.py', 'MixTransformer', 'MixTransformr')),
    Case('a teacher to check cut short', 'misc/check_teacher.py student.py', 'teacher.pth', (cut('teacher.pth'),)),
    Case('a baseline without a score', 'train.py mine.py', 'baseline', (mine("model = dict(teacher=dict(baseline='done'))", 'student.py'), scalars('{"loss": 1, "step": 2, "iter": 2}\n'))),
    Case('taps of a teacher that is gone', 'misc/list_taps.py student.py', 'teacher.py', (move('teacher.py', 'old.py'),)),
]
