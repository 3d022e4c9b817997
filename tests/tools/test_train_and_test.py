"""The command lines, from a config file to what the user finds afterwards."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import KD_LOSSES, TINY_BACKBONE, config_file, run, tiny_config, tiny_model
from mmengine.config import Config
from PIL import Image

from mmseg_kd.checkpoints import read_checkpoint
from mmseg_kd.config.preparing import choose_split
from mmseg_kd.errors import UserError


@pytest.fixture(scope='module')
def distilled(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a student that the baseline taught."""
    folder = tmp_path_factory.mktemp('student')
    teacher = dict(
        config=str(trained / 'config.py'), checkpoint=str(trained / 'run' / 'iter_6.pth')
    )
    model = tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES)
    assert run('train.py', config_file(folder, model=model)) == 0
    return folder


def scalars(folder: Path) -> list[dict]:
    file = next((folder / 'run').glob('*/vis_data/scalars.json'))
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_a_run_leaves_a_picture_a_log_and_checkpoints(trained: Path) -> None:
    names = {p.name for p in (trained / 'run').iterdir()}
    assert {'iter_3.pth', 'iter_6.pth', 'last_checkpoint', 'predictions.png'} <= names
    assert sum(name.startswith('best_mIoU_iter_') for name in names) == 1
    with Image.open(trained / 'run' / 'predictions.png') as image:
        assert image.width > 600
    evaluations = [row for row in scalars(trained) if 'mIoU' in row]
    assert [row['step'] for row in evaluations] == [3, 6]
    assert {'aAcc', 'mIoU', 'mAcc', 'mIoU11'} <= set(evaluations[0])


def test_every_loss_is_logged_raw_and_weighted(distilled: Path) -> None:
    names = {
        'loss',
        'decode.loss_ce',
        *(f'{x}_{y}' for x in ('kl', 'at', 'sp') for y in ('loss', 'raw')),
    }
    rows = [row for row in scalars(distilled) if 'loss' in row]
    assert len(rows) == 6
    for row in rows:
        assert names <= set(row)
        total = row['decode.loss_ce'] + row['kl_loss'] + row['at_loss'] + row['sp_loss']
        assert row['loss'] == pytest.approx(total, rel=1e-5)
    text = next((distilled / 'run').glob('*/*.log')).read_text()
    assert all(f'{name}: ' in text for name in names)
    assert list((distilled / 'run').glob('*/vis_data/events.out.tfevents.*'))


def test_the_teacher_is_on_record(distilled: Path, trained: Path) -> None:
    record = json.loads((distilled / 'run' / 'teacher.json').read_text())
    own = [row for row in scalars(trained) if 'mIoU' in row][-1]
    assert record['metrics']['mIoU'] == pytest.approx(own['mIoU'], abs=0.011)
    assert record['metrics']['mIoU11'] == pytest.approx(own['mIoU11'], abs=0.011)
    assert len(record['sha256']) == 64
    checkpoint = read_checkpoint(distilled / 'run' / 'iter_6.pth')
    assert checkpoint['message_hub']['runtime_info']['teacher'] == record


def test_the_students_checkpoint_tests_under_the_plain_config(
    trained: Path, distilled: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    checkpoint = distilled / 'run' / 'iter_6.pth'
    out, shown = tmp_path / 'out', tmp_path / 'shown'
    arguments = ['--work-dir', tmp_path / 'work', '--out', out, '--show-dir', shown]
    assert run('test.py', trained / 'config.py', checkpoint, *arguments) == 0
    printed = ''.join(capfd.readouterr())
    assert 'matched 116/116 tensors' in printed
    assert 'unexpected' not in printed
    masks = sorted(out.glob('*.png'))
    assert len(masks) == 2
    with Image.open(masks[0]) as image:
        assert image.mode == 'L'
        assert np.asarray(image).shape == (120, 160)
    assert len(list(shown.rglob('*.png'))) == 2
    metrics = json.loads(next((tmp_path / 'work').glob('*/*.json')).read_text())
    assert 0 <= metrics['mIoU'] <= 100


def test_a_row_of_metrics_for_each_image(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    file = tmp_path / 'images.csv'
    test = ['test.py', trained / 'config.py', trained / 'run' / 'iter_6.pth', '--per-image', file]
    wanted = "test_evaluator.iou_metrics=['mBoundaryIoU','ECE']"
    assert run(*test, '--cfg-options', wanted, f'work_dir={tmp_path}') == 0
    rows = list(csv.DictReader(file.open(encoding='utf-8-sig', newline='')))
    assert [Path(row['image']).name for row in rows] == ['0000.png', '0001.png']
    for name in ('mIoU', 'mIoU11', 'mBoundaryIoU', 'ECE', 'IoU Road'):
        assert all(0 <= float(row[name]) <= 100 for row in rows), name
    assert run(*test) == 2
    assert f'--per-image: {file} exists; name a new file' in capfd.readouterr().err
    other = ['--cfg-options', 'test_evaluator.type=IoUMetric']
    assert run(*test[:-1], tmp_path / 'other.csv', *other) == 2
    assert "--per-image needs test_evaluator=dict(type='Seg" in capfd.readouterr().err


def test_the_kd_config_tests_without_its_teacher(distilled: Path, tmp_path: Path) -> None:
    options = ['--cfg-options', 'model.teacher.checkpoint=lost.pth', '--work-dir', tmp_path]
    assert run('test.py', distilled / 'config.py', distilled / 'run' / 'iter_6.pth', *options) == 0


def test_the_split_is_chosen(trained: Path, tmp_path: Path) -> None:
    # Two images to validate on, and another number to test on.
    options = ['--cfg-options', 'test_dataloader.dataset.num_images=3']
    # The config that the run left behind serves as well, and is not changed by testing.
    left = trained / 'run' / 'config.py'
    config = left.read_text()
    assert run('test.py', left, trained / 'run' / 'iter_6.pth') == 0
    assert left.read_text() == config
    files = trained / 'config.py', trained / 'run' / 'iter_6.pth'
    assert run('test.py', *files, '--split', 'val', '--work-dir', tmp_path, *options) == 0
    metrics = json.loads(next(tmp_path.glob('*/*.json')).read_text())
    own = [row for row in scalars(trained) if 'mIoU' in row][-1]
    assert metrics['mIoU'] == pytest.approx(own['mIoU'], abs=0.011)


def test_a_split_may_be_a_data_set_of_its_own() -> None:
    data = dict(type='BaseSegDataset', ann_file='val.txt', pipeline=[dict(type='A')])
    tested = data | dict(ann_file='test.txt', pipeline=[dict(type='B')])
    cfg = Config(dict(val_dataloader=dict(dataset=data), test_dataloader=dict(dataset=tested)))
    choose_split(cfg, 'val')
    assert cfg.test_dataloader.dataset == tested | dict(ann_file='val.txt')
    with pytest.raises(UserError, match=r'--split: the train data set of .* has no split'):
        choose_split(cfg, 'train')


def test_a_checkpoint_that_does_not_fit_fails(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    torch.save({'state_dict': {'other.weight': torch.zeros(3)}}, tmp_path / 'other.pth')
    assert run('test.py', trained / 'config.py', tmp_path / 'other.pth') == 2
    error = capfd.readouterr().err
    assert '0 of 115 tensors' in error
    assert 'other.weight' in error
    assert 'Traceback' not in error


def test_mistakes_end_with_one_line(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    lost = tiny_model(backbone=TINY_BACKBONE | dict(pretrained='pretrained/mit_b9.pth'))
    teacher = dict(config=str(tmp_path / 'lost.py'), checkpoint='lost.pth')
    orphan = tiny_model(type='KDEncoderDecoder', teacher=teacher, kd_losses=KD_LOSSES)
    for number, (options, message) in enumerate(
        [
            (dict(model=lost), 'model.pretrained=None'),
            (dict(model=orphan), 'lost.py does not exist'),
            (dict(load_from='lost.pth'), 'the checkpoint lost.pth does not exist'),
            (dict(load_from=str(tmp_path)), 'is a folder; name the file in it'),
            # Found by what reads them, after the model is built.
            (dict(optim_wrapper__optimizer__weight_decay=-1), 'Invalid weight_decay'),
            (dict(train_dataloader__prefetch_factor=2), 'prefetch_factor option could only'),
            (
                dict(
                    train_dataloader__dataset=dict(
                        type='CamVidDataset', data_root='nowhere', _delete_=True
                    )
                ),
                'camvid.py --download',
            ),
        ]
    ):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert run('train.py', config_file(folder, **options)) == 2
        error = capfd.readouterr().err
        assert message in error
        assert 'Traceback' not in error
        assert error.strip().splitlines()[-1].startswith('error: ')


def test_output_that_cannot_be_written_is_refused_before_the_work(
    trained: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    config, checkpoint = trained / 'config.py', trained / 'run' / 'iter_6.pth'
    mine = tmp_path / 'mine'
    mine.write_text('mine')
    for tool, arguments, option in (
        ('train.py', [config, '--work-dir'], 'work_dir'),
        ('test.py', [config, checkpoint, '--work-dir'], 'work_dir'),
        ('test.py', [config, checkpoint, '--out'], '--out'),
        ('test.py', [config, checkpoint, '--show-dir'], '--show-dir'),
    ):
        for path, message in (
            (mine, f'{mine} is a file; name a folder'),
            (mine / 'a' / 'b', f'{mine / "a" / "b"} cannot be written, {mine} is a file'),
        ):
            assert run(tool, *arguments, path) == 2
            assert capfd.readouterr().err == f'error: {option}: {message}\n'
    assert mine.read_text() == 'mine'


def test_a_checkpoint_that_is_a_folder(trained: Path, capfd: pytest.CaptureFixture) -> None:
    assert run('test.py', trained / 'config.py', trained) == 2
    error = capfd.readouterr().err
    assert error == f'error: the checkpoint {trained} is a folder; name the file in it\n'


def test_amp_on_the_cpu_is_bfloat16(tmp_path: Path) -> None:
    file = config_file(tmp_path)
    assert run('train.py', file, '--amp', '--cfg-options', 'train_cfg.max_iters=2') == 0
    assert Config.fromfile(tmp_path / 'run' / 'config.py').optim_wrapper.type == 'Bf16OptimWrapper'
    weights = read_checkpoint(tmp_path / 'run' / 'iter_2.pth')['state_dict']
    assert all(w.dtype != torch.bfloat16 for w in weights.values())


def test_sync_bn_works_on_one_device(tmp_path: Path) -> None:
    model = tiny_model()
    model['decode_head']['norm_cfg'] = dict(type='SyncBN', requires_grad=True)
    assert run('train.py', config_file(tmp_path, model=model)) == 0


def test_mixed_precision_needs_an_optimizer(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    file = config_file(tmp_path, optim_wrapper=None)
    assert run('train.py', file, '--amp') == 2
    assert 'optim_wrapper is missing, so it cannot be trained' in capfd.readouterr().err


def test_help_and_wrong_flags(capfd: pytest.CaptureFixture) -> None:
    assert run('train.py', '--help') == 0
    assert run('train.py') == 2
    assert 'usage' in capfd.readouterr().err


def test_taps_are_listed(distilled: Path, capfd: pytest.CaptureFixture) -> None:
    assert run('misc/list_taps.py', distilled / 'config.py', '--shape', 64, 96) == 0
    printed = capfd.readouterr().out
    assert 'student' in printed
    assert 'teacher' in printed
    rows = {line.split()[0]: line for line in printed.splitlines() if line}
    assert '(1, 12, 16, 24)' in rows['logits']
    assert '(1, 32, 2, 3)' in rows['stage4']
    assert '(1, 32, 2, 3)' in rows['stage4.pre_norm']
    assert '(1, 16, 16, 24)' in rows['decode_head.linear_fuse']


def test_taps_of_images_with_four_channels(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    model = tiny_config(tmp_path).model
    model.backbone.in_channels = 4
    assert run('misc/list_taps.py', config_file(tmp_path, model=model), '--shape', 64, 96) == 0
    assert '(1, 12, 16, 24)' in capfd.readouterr().out


def test_taps_of_an_image_that_a_model_cannot_take(
    distilled: Path, capfd: pytest.CaptureFixture
) -> None:
    assert run('misc/list_taps.py', distilled / 'config.py', '--shape', 16, 16) == 2
    message = 'MixTransformer needs images of at least 32 pixels a side, not 16x16'
    assert capfd.readouterr().err.startswith(f'error: {message}')
    assert run('misc/list_taps.py', distilled / 'config.py', '--shape', 64, 0) == 2
    error = capfd.readouterr().err.splitlines()[-1]
    assert error.endswith("error: argument --shape: '0' is not a whole number from 1 up")


def test_taps_of_several_teachers(
    distilled: Path, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    model = Config.fromfile(distilled / 'config.py').model
    model.teacher = dict(
        first=model.teacher, second=model.teacher, mean=dict(type='EMATeacher', momentum=0.99)
    )
    file = config_file(tmp_path, model=model)
    assert run('misc/list_taps.py', file, '--shape', 64, 64) == 0
    printed = capfd.readouterr().out
    assert next(line for line in printed.splitlines() if line.startswith('tap')).split() == [
        'tap',
        'student',
        'first',
        'second',
    ]
