"""The page on single images, of a student, its teacher and a baseline that are really trained."""

import base64
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run, tiny_config
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_kd.deployment.segmentor import load_segmentor
from mmseg_kd.distillation import AttentionTransferLoss, record_taps
from mmseg_kd.errors import UserError
from mmseg_kd.reports.figures.teacher_comparison import Comparison, compare, panels

TOOL = 'analysis_tools/compare_teacher.py'
IMAGES = ('val_dataloader.dataset.num_images=7',)
TAPS = [(f'stage{i}.pre_norm',) * 2 for i in (1, 4)]


@pytest.fixture(scope='module')
def pair(trained_pair: dict[str, Path]) -> dict[str, Path]:
    """The config and the checkpoints: an early student as the baseline."""
    return {
        'config': next(trained_pair['student'].glob('*/vis_data/config.py')),
        'student': trained_pair['student'] / 'iter_9.pth',
        'baseline': trained_pair['student'] / 'iter_3.pth',
        'teacher': trained_pair['baseline'] / 'iter_9.pth',
    }


def table(page: str) -> dict[str, list[str]]:
    """The table of the images: the cells of each row by its head."""
    rows = re.findall(r'<tr><th scope="row"[^>]*>(.*?)</th>\n?(.*?)</tr>', page, re.DOTALL)
    found = {head: re.findall(r'<td[^>]*>(.*?)</td>', cells) for head, cells in rows}
    return {head: cells for head, cells in found.items() if len(cells) > 1}


def image_scores(pair: dict[str, Path], names: list[str]) -> dict[str, dict[str, float]]:
    """The mIoU of every image by its name and the model, counted with NumPy."""
    cfg = Config.fromfile(pair['config'])
    dataset = DATASETS.build(cfg.val_dataloader.dataset | dict(num_images=7))
    scores: dict[str, dict[str, float]] = {}
    for name in names:
        model = load_segmentor(pair[name]).model
        for sample in dataset:
            truth = sample['data_samples'].gt_sem_seg.data[0].numpy()
            stem = Path(sample['data_samples'].img_path).stem
            batch = dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']])
            with torch.no_grad():
                ids = model.test_step(batch)[0].pred_sem_seg.data[0].numpy()
            ious = []
            for k in range(12):
                union = ((truth == k) | ((ids == k) & (truth != 255))).sum()
                if union:
                    ious.append(((truth == k) & (ids == k)).sum() / union)
            scores.setdefault(stem, {})[name] = 100 * float(np.mean(ious))
    return scores


@pytest.mark.parametrize('other', ['baseline', 'teacher'])
def test_the_best_the_worst_and_the_median_image(
    pair: dict[str, Path], tmp_path: Path, other: str
) -> None:
    baseline = ['--baseline', pair['baseline']] if other == 'baseline' else []
    arguments = [*baseline, '--out', tmp_path / 'out', '--cfg-options', *IMAGES]
    assert run(TOOL, pair['config'], pair['student'], *arguments) == 0
    models = [*(['baseline'] if baseline else []), 'student', 'teacher']
    scores = image_scores(pair, models)
    assert len(scores) == 7
    order = sorted(scores, key=lambda stem: scores[stem]['student'] - scores[stem][other])
    page = (tmp_path / 'out' / 'index.html').read_text(encoding='utf-8')
    rows = table(page)
    assert {stem: cells[0] for stem, cells in rows.items()} == {
        order[-1]: 'best',
        order[0]: 'worst',
        order[3]: 'median',
    }
    for stem, (_, *cells) in rows.items():
        expected = [*(scores[stem][m] for m in models)]
        expected.append(scores[stem]['student'] - scores[stem][other])
        # With a true minus sign.
        assert [float(cell.replace('\N{MINUS SIGN}', '-')) for cell in cells] == pytest.approx(
            expected, abs=0.006
        )
    names = [f'{i}_{stem}.png' for i, stem in enumerate(rows, 1)]
    files = sorted(path.name for path in (tmp_path / 'out').iterdir())
    assert files == [*names, 'index.html']
    # The page holds the pictures and refers to nothing else.
    sources = re.findall(r'src="data:image/png;base64,(.*?)"', page)
    for name, source in zip(names, sources, strict=True):
        assert base64.b64decode(source) == (tmp_path / 'out' / name).read_bytes()
        with Image.open(tmp_path / 'out' / name) as picture:
            assert picture.width == pytest.approx(4 * 3.2 * 110, abs=2)
    assert not re.search(r'(src|href)="(?!#|data:)', page)


def compared(pair: dict[str, Path]) -> tuple[Comparison, dict, dict]:
    cfg = Config.fromfile(pair['config'])
    sample = DATASETS.build(cfg.val_dataloader.dataset)[0]
    models = {name: load_segmentor(pair[name]).model for name in ('student', 'teacher')}
    return compare(models, sample, TAPS), models, sample


def test_entropy_and_attention_are_those_of_the_models(pair: dict[str, Path]) -> None:
    one, models, sample = compared(pair)
    features = {}
    for name, model in models.items():
        data = dict(inputs=[sample['inputs']], data_samples=[sample['data_samples'].clone()])
        inputs = model.data_preprocessor(data, False)['inputs']
        with torch.no_grad(), record_taps(model, [*TAPS[0], *TAPS[1], 'logits']) as taps:
            model(inputs, mode='tensor')
        size = one.label.shape
        logits = torch.nn.functional.interpolate(taps['logits'], size, mode='bilinear')
        logits = logits[0].double().numpy()
        odds = np.exp(logits - logits.max(axis=0))
        shares = odds / odds.sum(axis=0)
        entropy = -(shares * np.log(shares)).sum(axis=0)
        assert one.entropy[name] == pytest.approx(entropy, abs=1e-4)
        assert np.array_equal(one.ids[name], logits.argmax(axis=0))
        features[name] = taps
    for attention, (tap, _) in zip(one.attention, TAPS, strict=True):
        loss = AttentionTransferLoss(stages=tap, reduction='paper')
        value = loss.raw(features['student'][tap], features['teacher'][tap])
        assert attention.distance == pytest.approx(float(value), abs=1e-5)
        assert attention.distance > 0
        squares = features['student'][tap][0].square().sum(dim=0).numpy()
        height, width = squares.shape
        drawn = attention.maps[0]
        assert drawn.shape == one.image.shape[:2]
        places = drawn[:: drawn.shape[0] // height, :: drawn.shape[1] // width]
        assert places == pytest.approx(squares / np.linalg.norm(squares), rel=1e-4)


def test_a_window_and_padding_leave_the_attention_of_the_whole_image(pair: dict[str, Path]) -> None:
    whole, models, sample = compared(pair)
    student, teacher = models['student'], models['teacher']
    student.test_cfg.update(mode='slide', crop_size=(64, 64), stride=(32, 32))
    windows = compare(models, sample, TAPS)
    assert not np.array_equal(windows.entropy['student'], whole.entropy['student'])
    for one, other in zip(windows.attention, whole.attention, strict=True):
        assert np.array_equal(one.maps, other.maps)
    student.data_preprocessor.test_cfg = dict(size_divisor=100)
    data = dict(inputs=[sample['inputs']], data_samples=[sample['data_samples'].clone()])
    inputs = student.data_preprocessor(data, False)['inputs']
    assert inputs.shape[2:] != sample['inputs'].shape[1:]
    maps = []
    for model in (student, teacher):
        with torch.no_grad(), record_taps(model, TAPS[0]) as taps:
            model(inputs, mode='tensor')
        maps.append(taps[TAPS[0][0]])
    padded = compare(models, sample, TAPS[:1]).attention[0]
    loss = AttentionTransferLoss(stages=TAPS[0][0], reduction='paper')
    assert padded.distance == pytest.approx(float(loss.raw(*maps)), abs=1e-5)
    assert padded.maps.shape == (2, *sample['inputs'].shape[1:])


def _flatten(backbone: torch.nn.Module, _: object, maps: list[torch.Tensor]) -> None:
    backbone.flat(maps[0])


def test_a_tap_that_is_no_map_is_named(pair: dict[str, Path]) -> None:
    _, models, sample = compared(pair)
    backbone = models['student'].backbone
    backbone.flat = torch.nn.Flatten()
    backbone.register_forward_hook(_flatten)
    with pytest.raises(UserError, match=r"--taps: 'backbone.flat' of shape .* is not a map"):
        compare(models, sample, [('backbone.flat', 'stage1')])


def test_both_entropies_have_one_scale(pair: dict[str, Path]) -> None:
    rows = panels(compared(pair)[0], 2.0)
    assert {len(row) for row in rows} == {4}
    entropies = [p for row in rows for p in row if p.title.startswith('entropy')]
    assert [(p.title, p.highest, p.unit) for p in entropies] == [
        ('entropy, student', 2.0, None),
        ('entropy, teacher', 2.0, 'entropy (nats)'),
    ]
    for tap, _ in TAPS:
        tops = {p.highest for row in rows for p in row if p.title.startswith(f'{tap}, ')}
        assert len(tops) == 1


def test_named_images_and_taps_in_korean(pair: dict[str, Path], tmp_path: Path) -> None:
    arguments = ['--names', '0001', '--taps', 'stage2', '--split', 'test', '--lang', 'ko']
    arguments += ['--out', tmp_path / '결과']
    assert run(TOOL, pair['config'], pair['student'], *arguments) == 0
    page = (tmp_path / '결과' / 'index.html').read_text(encoding='utf-8')
    assert {stem: cells[0] for stem, cells in table(page).items()} == {'0001': '직접 지정'}
    assert re.search(r'겹치지 않음\): stage2 \d\.\d\d\.<', page)
    assert (tmp_path / '결과' / '1_0001.png').is_file()


def test_mistakes_are_one_line(
    pair: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    plain = tiny_config(tmp_path / 'run')
    plain.dump(tmp_path / 'plain.py')
    (tmp_path / 'notes.pth').write_text('no checkpoint')
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'mine.txt').write_text('mine')
    wide = 'model.backbone.embed_dims=[16,16,16,32]'
    config, student = pair['config'], pair['student']
    for arguments, message in (
        ((tmp_path / 'plain.py', student), 'plain.py has no teacher'),
        ((config, tmp_path / 'lost.pth'), 'lost.pth does not exist'),
        ((config, tmp_path / 'notes.pth'), 'notes.pth'),
        ((config, student, '--baseline', tmp_path), 'is a folder; name the file in it'),
        (
            (config, student, '--cfg-options', wide, 'model.decode_head.in_channels=[16,16,16,32]'),
            'iter_9.pth',
        ),
        ((config, student, '--names', '0000', '9'), "--names: the split has no image '9': it has"),
        ((config, student, '--taps', 'stage9'), "student (--taps) has no tap 'stage9'"),
        ((config, student, '--out', tmp_path / 'full'), 'full is not empty'),
        ((config, student, '--cfg-options', 'val_dataloader=None'), 'has no val_dataloader'),
    ):
        out = [] if '--out' in arguments else ['--out', tmp_path / 'out']
        assert run(TOOL, *arguments[:2], *out, *arguments[2:]) == 2, arguments
        error = capfd.readouterr().err
        assert message in error
        assert 'Traceback' not in error
        assert error.strip().splitlines()[-1].startswith('error: ')
        assert not (tmp_path / 'out').exists()
    assert [path.name for path in (tmp_path / 'full').iterdir()] == ['mine.txt']
    assert not list(tmp_path.glob('.out*'))
