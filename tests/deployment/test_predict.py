"""Images, folders and videos are predicted with the checkpoint alone."""

from __future__ import annotations

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from conftest import ROOT, run, tiny_model
from mmengine.config import Config
from mmseg.registry import MODELS
from PIL import Image

from mmseg_kd.deployment import load_predictor
from mmseg_kd.deployment.results import overlay
from mmseg_kd.deployment.segmentor import load_segmentor


@pytest.fixture(scope='module')
def student(trained_pair: dict[str, Path]) -> Path:
    return trained_pair['student'] / 'iter_9.pth'


@pytest.fixture(scope='module')
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos of two sizes in nested folders, one turned by its EXIF tag, and a video."""
    folder = tmp_path_factory.mktemp('photos')
    rng = np.random.default_rng(0)

    def picture(height: int, width: int) -> Image.Image:
        coarse = rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)
        return Image.fromarray(coarse).resize((width, height))

    (folder / '하위').mkdir()
    picture(64, 80).save(folder / 'a.png')
    picture(64, 80).save(folder / 'b.c.JPG')
    turned = Image.Exif()
    turned[274] = 6
    picture(50, 70).save(folder / '하위' / '사진.jpg', exif=turned)
    picture(40, 40).convert('L').save(folder / 'grey.png')
    video = cv2.VideoWriter(str(folder / 'clip.mp4'), cv2.VideoWriter_fourcc(*'mp4v'), 10, (80, 64))
    for _ in range(3):
        video.write(np.asarray(picture(64, 80)))
    video.release()
    return folder


def test_a_folder(student: Path, photos: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / 'out'
    assert run('predict.py', student, photos, '--out', out, '--batch-size', 2) == 0
    assert re.search(r'7 frames in .* ms per frame', capsys.readouterr().out)
    written = {path.relative_to(out).as_posix() for path in out.rglob('*') if path.is_file()}
    names = ['a', 'b.c', 'grey', '하위/사진']
    assert written == {
        *(f'ids/{name}.png' for name in names),
        *(f'overlay/{name}.jpg' for name in names),
        *(f'ids/clip/00000{i}.png' for i in range(3)),
        'overlay/clip.mp4',
        'legend.png',
    }
    # The longer side of the turned photo is upright.
    assert Image.open(out / 'ids/하위/사진.png').size == (50, 70)
    video = cv2.VideoCapture(str(out / 'overlay/clip.mp4'))
    assert video.get(cv2.CAP_PROP_FRAME_COUNT) == 3
    ids = np.asarray(Image.open(out / 'ids/a.png'))
    assert ids.shape == (64, 80) and ids.dtype == np.uint8 and ids.max() < 12
    assert (ids == load_predictor(student)(photos / 'a.png')).all()


def test_the_ids_are_those_of_a_test(student: Path, tmp_path: Path) -> None:
    """The same images through `tools/test.py --out`."""
    config = next(student.parent.glob('*/vis_data/config.py'))
    saved = tmp_path / 'test'
    assert run('test.py', config, student, '--out', saved, '--work-dir', tmp_path / 'w') == 0
    from mmseg.registry import DATASETS

    dataset = DATASETS.build(Config.fromfile(config).test_dataloader.dataset)
    predictor = load_predictor(student)
    for i in range(len(dataset)):
        sample = dataset[i]
        image = sample['inputs'].permute(1, 2, 0).numpy()
        name = Path(sample['data_samples'].img_path).stem
        assert (predictor(image) == np.asarray(Image.open(saved / f'{name}.png'))).all()


def test_what_holds_no_picture_is_one_line(student: Path, tmp_path: Path, capsys) -> None:
    empty = cv2.VideoWriter(
        str(tmp_path / 'empty.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 10, (80, 64)
    )
    empty.release()
    Image.fromarray(np.zeros((40, 40), np.float32)).save(tmp_path / 'float.tif')
    for name, words in (
        ('empty.avi', 'cannot read a frame of it'),
        ('float.tif', 'OpenCV cannot read it; save 8 bits per channel'),
    ):
        assert run('predict.py', student, tmp_path / name, '--out', tmp_path / 'out') == 2
        assert words in capsys.readouterr().err.splitlines()[-1]


def test_a_resize_in_a_wrapped_data_set_is_found(student: Path, tmp_path: Path) -> None:
    cfg = Config.fromfile(next(student.parent.glob('*/vis_data/config.py')))
    dataset = cfg.val_dataloader.dataset
    dataset.pipeline.insert(1, dict(type='Resize', scale=(40, 32), keep_ratio=True))
    cfg.val_dataloader.dataset = dict(type='ConcatDataset', datasets=[dataset])
    cfg.dump(tmp_path / 'config.py')
    trained = load_segmentor(student, tmp_path / 'config.py')
    assert trained.pipeline == [dict(type='Resize', scale=(40, 32), keep_ratio=True)]


def test_one_channel_is_two_classes(tmp_path: Path) -> None:
    head = tiny_model()['decode_head'] | dict(num_classes=2, out_channels=1, threshold=0.3)
    head['loss_decode'] = dict(type='CrossEntropyLoss', use_sigmoid=True)
    model = tiny_model(decode_head=head)
    torch.save(dict(state_dict=MODELS.build(model).state_dict()), tmp_path / 'binary.pth')
    Config(dict(model=model)).dump(tmp_path / 'config.py')
    trained = load_segmentor(tmp_path / 'binary.pth', tmp_path / 'config.py')
    assert trained.classes == ['class 0', 'class 1'] and len(trained.palette) == 2


def test_overlay() -> None:
    image = np.full((1, 3, 3), 100, np.uint8)
    ids = np.array([[0, 1, 255]], np.uint8)
    painted = overlay(image, ids, [(200, 0, 100), (0, 0, 0)])
    # BGR, half of each; an id without a colour leaves the image.
    assert painted.tolist() == [[[100, 50, 150], [50, 50, 50], [100, 100, 100]]]


def test_a_published_checkpoint_needs_its_config(student: Path, tmp_path: Path, photos, capsys):
    assert run('misc/publish_model.py', student, tmp_path / 'student.pth') == 0
    (published,) = tmp_path.glob('student-*.pth')
    capsys.readouterr()
    arguments = [published, photos / 'a.png', '--out', tmp_path / 'out']
    assert run('predict.py', *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith('holds no config; name the config of its training: --config')
    config = next(student.parent.glob('*/vis_data/config.py'))
    assert run('predict.py', *arguments, '--config', config) == 0


@pytest.mark.parametrize('split', ['val', 'test'])
def test_a_config_in_a_checkpoint_runs_nothing(
    student: Path, tmp_path: Path, photos: Path, capsys, split: str
) -> None:
    checkpoint = torch.load(student, weights_only=False)
    made = tmp_path / 'executed'
    dataset = dict(pipeline=[dict(type='os.mkdir', path=str(made))])
    checkpoint['meta']['cfg'] += (
        f'\nval_dataloader = None\n{split}_dataloader = dict(dataset={dataset!r})\n'
    )
    torch.save(checkpoint, tmp_path / 'hostile.pth')
    arguments = [tmp_path / 'hostile.pth', photos / 'a.png', '--out', tmp_path / 'out']
    assert run('predict.py', *arguments) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "type 'os.mkdir' is not registered, so it is not built" in line
    assert not made.exists()


def test_no_key_of_a_checkpoint_names_code(
    student: Path, tmp_path: Path, photos: Path, capsys
) -> None:
    made, hub = tmp_path / 'executed', tmp_path / 'hub'
    hub.mkdir()
    (hub / 'hubconf.py').write_text(f'open({str(made)!r}, "w")\ndef x(**_): ...\n')
    (tmp_path / 'teacher.py').write_text(f'open({str(made)!r}, "w")\n')
    convolution = dict(in_channels=3, out_channels=3, kernel_size=1, padding=f'touch {made}')
    teacher = dict(config=str(tmp_path / 'teacher.py'), checkpoint='x.pth')
    resize = dict(resize_type='torch.hub.load', repo_or_dir=str(hub), model='x', source='local')
    parts = [
        ('model', dict(backbone=dict(type='ConvModule', padding_mode='os.system', **convolution))),
        ('model', dict(backbone=dict(type='mmseg_kd.distillation.teacher.Teacher', **teacher))),
        ('step', dict(type='RandomResize', scale=(80, 64), trust_repo=True, **resize)),
        ('step', dict(type='Resize', foo=1)),
    ]
    for i, (kind, part) in enumerate(parts):
        checkpoint = torch.load(student, weights_only=False)
        pipeline = dict(dataset=dict(pipeline=[part]))
        text = f'val_dataloader = {pipeline!r}'
        if kind == 'model':
            head = dict(type='FCNHead', in_channels=3, in_index=0, channels=8, num_classes=12)
            text = f'model = {part | dict(type="EncoderDecoder", decode_head=head)!r}'
        checkpoint['meta']['cfg'] += f'\n{text}\n'
        torch.save(checkpoint, tmp_path / 'hostile.pth')
        arguments = [tmp_path / 'hostile.pth', photos / 'a.png', '--out', tmp_path / f'out{i}']
        assert run('predict.py', *arguments) == 2
        assert 'Traceback' not in capsys.readouterr().err
        assert not made.exists(), part


def test_a_type_may_have_its_full_name(student: Path, tmp_path: Path, photos: Path) -> None:
    checkpoint = torch.load(student, weights_only=False)
    cfg = Config.fromstring(checkpoint['meta']['cfg'], '.py')
    cfg.model.type = 'mmseg_kd.models.encoder_decoder.EncoderDecoder'
    checkpoint['meta']['cfg'] = cfg.pretty_text
    torch.save(checkpoint, tmp_path / 'named.pth')
    ids = load_predictor(tmp_path / 'named.pth')(photos / 'a.png')
    assert (ids == load_predictor(student)(photos / 'a.png')).all()


def test_an_image_that_is_too_small_is_named(
    student: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    exported, low = tmp_path / 'student.onnx', tmp_path / 'low.png'
    assert run('export.py', student, exported, '--images', photos / 'a.png') == 0
    Image.new('RGB', (90, 1)).save(low)
    for model in (student, exported):
        capsys.readouterr()
        assert run('predict.py', model, low, '--out', tmp_path / 'out') == 2
        assert f'error: {low}: ' in capsys.readouterr().err


def test_a_damaged_image_among_others_leaves_nothing(
    student: Path, photos: Path, tmp_path: Path, capsys
) -> None:
    folder, out = tmp_path / 'photos', tmp_path / 'out'
    folder.mkdir()
    for name in ('a', 'b'):
        (folder / f'{name}.png').write_bytes((photos / 'a.png').read_bytes())
    # macOS leaves such files on sticks and in archives.
    (folder / '._a.png').write_bytes(b'0' * 100)
    assert run('predict.py', student, folder, '--out', out) == 0
    assert len(list((out / 'ids').iterdir())) == 2
    (folder / 'c.jpg').write_bytes((photos / 'b.c.JPG').read_bytes()[:300])
    assert run('predict.py', student, folder, '--out', tmp_path / 'again') == 2
    assert 'c.jpg: is not an image or not a whole one' in capsys.readouterr().err
    assert not any(path.is_file() for path in (tmp_path / 'again').rglob('*'))


@pytest.mark.parametrize(
    ('inputs', 'words'),
    [
        ([''], 'INPUT is empty'),
        (['nowhere.jpg'], 'nowhere.jpg: does not exist'),
        (['*.bmp'], '*.bmp: does not exist'),
        (['{photos}/empty'], 'holds no image or video (.jpg'),
        (['{photos}/notes.txt'], 'notes.txt: is not an image or a video (.jpg'),
        (['{photos}/a.png', '{photos}/other/a.png'], 'would have results of the same name, a;'),
        (['{photos}/films'], 'clip/000001.png would be among the frames of'),
        (['{photos}/broken.jpg'], 'broken.jpg: is not an image or not a whole one'),
        (['{photos}/broken.mp4'], 'broken.mp4: is not a video that OpenCV can read'),
        (['{photos}/wide.avi'], 'wide.mp4: OpenCV cannot write videos of this size; predict'),
    ],
)
def test_inputs_that_cannot_be_used(
    student: Path, photos: Path, tmp_path: Path, capsys, inputs: list[str], words: str
) -> None:
    for name in ('empty', 'other'):
        (tmp_path / name).mkdir()
    (tmp_path / 'notes.txt').write_text('')
    (tmp_path / 'broken.mp4').write_bytes(b'0' * 100)
    size = (8256, 64)
    video = cv2.VideoWriter(str(tmp_path / 'wide.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 10, size)
    video.write(np.zeros((64, 8256, 3), np.uint8))
    video.release()
    (tmp_path / 'broken.jpg').write_bytes((photos / 'b.c.JPG').read_bytes()[:300])
    for name in ('a.png', 'other/a.png'):
        (tmp_path / name).write_bytes((photos / 'a.png').read_bytes())
    (tmp_path / 'films/clip').mkdir(parents=True)
    for name, copy in (('clip.mp4', 'clip.mp4'), ('a.png', 'clip/000001.png')):
        (tmp_path / 'films' / copy).write_bytes((photos / name).read_bytes())
    inputs = [text.format(photos=tmp_path) for text in inputs]
    out = tmp_path / 'out'
    assert run('predict.py', student, *inputs, '--out', out) == 2
    (line,) = [x for x in capsys.readouterr().err.splitlines() if x.startswith('error')]
    assert words in line
    assert not any(path.is_file() for path in out.rglob('*'))


def test_nothing_is_overwritten(student: Path, photos: Path, capsys) -> None:
    assert run('predict.py', student, photos / 'a.png', '--out', photos) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert 'is not empty' in line


def test_the_example_of_the_docs(student: Path, photos: Path) -> None:
    text = (ROOT / 'docs/predict_and_export.md').read_text(encoding='utf-8')
    (block,) = re.findall(r'^```python\n(.*?)^```', text, flags=re.DOTALL | re.MULTILINE)
    block = re.sub(r"'work_dirs/.*?'", repr(str(student)), block)
    names: dict = {}
    exec(block.replace("'photo.jpg'", repr(str(photos / 'a.png'))), names)
    assert names['ids'].shape == (64, 80)
