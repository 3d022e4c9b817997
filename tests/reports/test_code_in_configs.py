"""A report on a stranger's work_dir runs none of the code in its configs."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
import torch
from conftest import run
from reports.run_copies import write_study

from mmseg_kd.errors import UserError
from mmseg_kd.records.literal_config import parse_buildable, parse_literals
from mmseg_kd.reports.comparing.collecting import read_collection
from mmseg_kd.reports.figures.images import comparable_pair, draw_images


def test_code_is_left_out_and_named(tmp_path: Path) -> None:
    text = (
        "a=dict(b=[1, open('x'), 2], c=(True, print()), **{'x.y': exec('1')})\n"
        "'a remark'\nimport os\nfor i in [1]:\n    exit()\nb: int = 1\nd=-1.5\n"
    )
    config, left_out = parse_buildable(text, 'config.py')
    assert config == {'a': {'b': [1, 2], 'c': (True,)}, 'd': -1.5}
    assert [part.split('\n')[0] for part in left_out] == [
        "open('x')",
        'print()',
        "exec('1')",
        'import os',
        'for i in [1]:',
        'b: int = 1',
    ]


@pytest.mark.parametrize(
    'kind', ['os.system', 'mmengine.load', 'mmseg.load', 'subprocess.run', 'nothing_of_this_name']
)
@pytest.mark.parametrize(
    'text',
    [
        'model=dict(type={!r})',
        'model=dict(backbone=dict(norm_cfg=dict(type={!r})))',
        'val_dataloader=dict(dataset=dict(pipeline=[dict(type={!r})]))',
    ],
)
def test_only_registered_types_are_built(kind: str, text: str) -> None:
    with pytest.raises(UserError, match=f"config.py: type '{kind}' is not registered"):
        parse_buildable(text.format(kind), 'config.py')


def test_a_loss_of_the_user_is_not_built() -> None:
    own = "teacher=dict(type='Mine'), kd_losses=dict(a=dict(type='Mine', b=dict(type='os.system')))"
    config, _ = parse_buildable(f"model=dict(type='KDEncoderDecoder', {own})", 'config.py')
    assert config.model.kd_losses.a.type == 'Mine'


@pytest.mark.parametrize(
    'kind', ['EncoderDecoder', 'mmseg.EncoderDecoder', 'BN', 'Conv2d', 'mmseg_kd.models.mit.mit_b0']
)
def test_registered_types_are_built(kind: str) -> None:
    config, left_out = parse_buildable(f'model=dict(type={kind!r})', 'config.py')
    assert (config.model.type, left_out) == (kind, [])


@pytest.mark.parametrize('text', ['model=', 'a={[1]: 2}', 'a=' + '(' * 500 + ')' * 500])
def test_a_config_that_is_no_python_is_one_line(text: str) -> None:
    with pytest.raises(UserError, match=r'config\.py: the config cannot be read'):
        parse_buildable(text, 'config.py')


@pytest.fixture
def strange_pair(trained_pair: dict[str, Path], tmp_path: Path) -> dict[str, Path]:
    """Copies of two work_dirs whose configs make the folder `executed` when they are run."""
    made = tmp_path / 'executed'
    code = f"__import__('os').makedirs({str(made)!r}, exist_ok=True)"
    copies = {name: tmp_path / 'runs' / name for name in trained_pair}
    for name, folder in copies.items():
        shutil.copytree(trained_pair[name], folder)
        (config,) = folder.glob('*/vis_data/config.py')
        text = config.read_text(encoding='utf-8').replace(
            str(trained_pair['baseline']), str(copies['baseline'])
        )
        config.write_text(f'{text}\n{code}\nunused = [{code}]\n', encoding='utf-8')
    return copies


def test_a_report_runs_no_config(strange_pair: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / 'runs'
    # `study.py report` writes the same report of this file.
    write_study(folder, [dict(name=n, work_dir=n) for n in strange_pair], baseline='baseline')
    assert run('analysis_tools/report.py', folder) == 0
    text = (folder / 'report.md').read_text(encoding='utf-8')
    assert not (tmp_path / 'executed').exists()
    assert 'code in a config is not run and left out:' in text
    assert 'makedirs' in text
    # The teacher's config holds code: its model is taken from its checkpoint.
    assert 'largest' in text
    assert 'No images' not in text


def test_a_report_runs_no_checkpoint(strange_pair: dict[str, Path], tmp_path: Path) -> None:
    class MakesFolder:
        def __reduce__(self) -> tuple:
            return os.mkdir, (str(tmp_path / 'executed'),)

    collection = read_collection(list(strange_pair.values()), 'baseline')
    baseline, student = comparable_pair(collection)
    torch.save({'state_dict': {'w': MakesFolder()}}, student.best_checkpoint('mIoU11')[0])
    with pytest.raises(UserError, match='which is code and not weights'):
        draw_images(baseline, student, 1, tmp_path / 'images.png', collection)
    assert not (tmp_path / 'executed').exists()


def test_a_teacher_in_a_config_of_a_run_calls_nothing(
    trained_pair: dict[str, Path], tmp_path: Path
) -> None:
    made, folder = tmp_path / 'executed', tmp_path / 'runs'
    for name, source in trained_pair.items():
        shutil.copytree(source, folder / name)
    (file,) = (folder / 'student').glob('*/vis_data/config.py')
    config = parse_literals(file.read_text(encoding='utf-8'))
    backbone = dict(type='os.makedirs', name=str(made))
    hostile = dict(type='EncoderDecoder', backbone=backbone, decode_head=dict(type='FCNHead'))
    config['model']['teacher']['config'] = hostile
    text = ''.join(f'{key} = {value!r}\n' for key, value in config.items())
    file.write_text(text, encoding='utf-8')
    write_study(folder, [dict(name=x, work_dir=x) for x in trained_pair], baseline='baseline')
    assert run('analysis_tools/report.py', folder) == 0
    text = (folder / 'report.md').read_text(encoding='utf-8')
    assert 'os.makedirs is not in the' in text and not made.exists()
