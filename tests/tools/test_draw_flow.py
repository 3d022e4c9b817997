"""The pictures of the parts of flows, of a student and a teacher that are really trained."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import run, tiny_config
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_kd.deployment.segmentor import load_segmentor
from mmseg_kd.distillation import record_taps
from mmseg_kd.errors import UserError
from mmseg_kd.reports.figures.flow_parts import PARTS, FlowParts, flow_parts, pair_energies

TOOL = 'analysis_tools/draw_flow.py'


@pytest.fixture(scope='module')
def pair(trained_pair: dict[str, Path]) -> dict[str, Path]:
    """The config of the student and the checkpoints."""
    return {
        'config': next(trained_pair['student'].glob('*/vis_data/config.py')),
        'plain': next(trained_pair['baseline'].glob('*/vis_data/config.py')),
        'student': trained_pair['student'] / 'iter_9.pth',
        'teacher': trained_pair['baseline'] / 'iter_9.pth',
    }


def image_and_model(pair: dict[str, Path]) -> tuple[dict, torch.nn.Module]:
    cfg = Config.fromfile(pair['config'])
    return DATASETS.build(cfg.val_dataloader.dataset)[0], load_segmentor(pair['student']).model


def probabilities(
    sample: dict, model: torch.nn.Module, grid: tuple[int, int] | None = None
) -> np.ndarray:
    batch = dict(inputs=[sample['inputs']], data_samples=[sample['data_samples'].clone()])
    inputs = model.data_preprocessor(batch, False)['inputs']
    with torch.no_grad(), record_taps(model, ['logits']) as taps:
        model(inputs, mode='tensor')
    logits = taps['logits']
    if grid is not None:
        logits = torch.nn.functional.interpolate(logits, grid, mode='bilinear')
    return logits[0].double().softmax(dim=0).numpy()


def energy_and_junctions(p: np.ndarray) -> tuple[float, np.ndarray]:
    """The energy of the flows of all pairs of maps (C, H, W), and the junction energies."""
    energy, determinants = 0.0, 0.0
    for a in range(len(p)):
        for b in range(a + 1, len(p)):
            x = p[a][:, :-1] * p[b][:, 1:] - p[b][:, :-1] * p[a][:, 1:]
            y = p[a][:-1] * p[b][1:] - p[b][:-1] * p[a][1:]
            energy += (x**2).sum() + (y**2).sum()
            curl = x[:-1] + y[:, 1:] - x[1:] - y[:, :-1]
            determinants = determinants + curl**2 / 4
    return energy, np.sqrt(determinants)


def drawn_energy(one: FlowParts, places: int) -> float:
    """The energy of a map of so many places, each of which is drawn on equally many pixels."""
    whole = sum((one.heats[part] ** 2).sum() for part in PARTS)
    return whole * places / one.heats['gradient'].size


def test_the_parts_sum_to_the_energy_of_all_pairs(pair: dict[str, Path]) -> None:
    sample, model = image_and_model(pair)
    one = flow_parts(model, sample, 'logits', model)
    p = probabilities(sample, model)
    energy, junctions = energy_and_junctions(p)
    assert one.junction == pytest.approx(junctions.mean(), rel=1e-4)
    assert sum(one.shares.values()) == pytest.approx(100)
    assert one.shares['harmonic'] < 1e-9 < 0.01 < one.shares['curl'] < one.shares['gradient']
    assert drawn_energy(one, p[0].size) == pytest.approx(energy, rel=1e-4)
    assert {heat.shape for heat in one.heats.values()} == {tuple(sample['inputs'].shape[1:])}
    # A junction is drawn between the four pixels that it belongs to.
    height, width = np.array(one.heats['junction'].shape) // p[0].shape
    first = one.heats['junction'][height // 2 : height + height // 2, width // 2 :][:, :width]
    assert np.ptp(first) == 0
    assert first[0, 0] == pytest.approx(junctions[0, 0], rel=1e-3)


def test_only_a_flow_around_a_hole_is_harmonic() -> None:
    down, across = torch.meshgrid(*[torch.arange(11.0).double() - 5] * 2, indexing='ij')
    angle = torch.atan2(down, across)
    # The flow of this pair is the sine of the difference in angle.
    around = torch.stack([angle.cos(), angle.sin()])
    valid = torch.ones(11, 11, dtype=torch.bool)
    hole = valid.clone()
    hole[3:8, 3:8] = False
    shares = {}
    for name, mask in (('whole', valid), ('hole', hole)):
        energies = pair_energies(around, mask)
        assert not any(energy[~mask].any() for energy in energies.values())
        total = float(sum(energies.values()).sum())
        shares[name] = {part: float(energies[part].sum()) / total for part in PARTS}
    assert shares['whole']['harmonic'] < 1e-12
    assert shares['whole']['curl'] > 0.9
    assert shares['hole']['harmonic'] > 0.9


def test_void_is_left_out(pair: dict[str, Path]) -> None:
    sample, model = image_and_model(pair)
    label = sample['data_samples'].gt_sem_seg.data
    label[:] = 0
    label[:, 40:80, 40:80] = 3
    whole = flow_parts(model, sample, 'logits', model)
    by_id = flow_parts(model, sample, 'logits', model, void=[3])
    assert by_id.shares['harmonic'] > 1e-3 > whole.shares['harmonic']
    assert whole.heats['gradient'][44:76, 44:76].all()
    assert not any(by_id.heats[part][44:76, 44:76].any() for part in by_id.heats)
    label[label == 3] = 255
    same(flow_parts(model, sample, 'logits', model), by_id)
    label[:] = 255
    nothing = flow_parts(model, sample, 'stage4', model)
    assert set(nothing.shares.values()) == {0.0}
    assert nothing.junction == 0


def same(one: FlowParts, other: FlowParts) -> None:
    assert one.shares == other.shares
    assert all(np.array_equal(one.heats[part], other.heats[part]) for part in one.heats)


def test_padding_is_void(pair: dict[str, Path]) -> None:
    sample, model = image_and_model(pair)
    height, width = sample['inputs'].shape[1:]
    model.data_preprocessor.test_cfg = dict(size_divisor=height + 8)
    one = flow_parts(model, sample, 'logits', model)
    assert {heat.shape for heat in one.heats.values()} == {(height, width)}
    padded = probabilities(sample, model)
    p = padded[:, : height // 4, : width // 4]
    assert p.shape[1] < padded.shape[1] and p.shape[2] < padded.shape[2]
    energy, junctions = energy_and_junctions(p)
    assert one.junction == pytest.approx(junctions.mean(), rel=1e-4)
    assert drawn_energy(one, p[0].size) == pytest.approx(energy, rel=1e-4)


def test_another_grid_and_a_larger_label(pair: dict[str, Path]) -> None:
    sample, model = image_and_model(pair)
    own = flow_parts(model, sample, 'logits', model, void=[3])
    half = own.grid[0] // 2, own.grid[1] // 2
    coarse = flow_parts(model, sample, 'logits', model, grid=half)
    assert coarse.grid == half
    junctions = energy_and_junctions(probabilities(sample, model, half))[1]
    assert coarse.junction == pytest.approx(junctions.mean(), rel=1e-4)
    # As where the pipeline of a test resizes the image alone.
    label = sample['data_samples'].gt_sem_seg.data
    larger = label.repeat_interleave(2, 1).repeat_interleave(2, 2)
    sample['data_samples'].gt_sem_seg = PixelData(data=larger)
    same(flow_parts(model, sample, 'logits', model, void=[3]), own)


def test_features_have_no_scale_and_no_basis(pair: dict[str, Path]) -> None:
    sample, model = image_and_model(pair)
    norm = model.backbone.norm4
    before = flow_parts(model, sample, 'stage4', model)
    with torch.no_grad():
        norm.weight.mul_(5)
        norm.bias.mul_(5).add_(1)
    after = flow_parts(model, sample, 'stage4', model)
    for part in PARTS:
        assert after.shares[part] == pytest.approx(before.shares[part], abs=0.01)
        assert after.heats[part] == pytest.approx(before.heats[part], abs=1e-3)
    assert before.shares['curl'] > 1


def test_a_row_for_the_teacher_and_one_for_the_student(
    pair: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    # The teacher of the config, another checkpoint, none.
    lines, heights = [], []
    for i, (config, options) in enumerate(
        [
            (pair['config'], ['--images', '9']),
            (pair['plain'], ['--teacher', pair['teacher'], '--names', '0000', '0001']),
            (pair['plain'], ['--names', '0001', '--void', 'Unlabelled']),
        ]
    ):
        out = tmp_path / f'그림{i}'
        assert run(TOOL, config, pair['student'], *options, '--out', out) == 0
        lines.append(re.findall(r'^(teacher|student): (.*)$', capfd.readouterr().out, re.M))
        names = sorted(path.name for path in out.iterdir())
        assert names == ['0000.png', '0001.png'][-(2 - i // 2) :]
        with Image.open(out / '0001.png') as picture:
            assert picture.width == pytest.approx(5 * 3.2 * 110, abs=2)
            heights.append(picture.height)
    assert lines[0] == lines[1]
    assert [name for name, _ in lines[0]] == ['teacher', 'student']
    assert [name for name, _ in lines[2]] == ['student']
    values = re.fullmatch(r'gradient ([\d.]+) %, curl ([\d.]+) %, harmonic 0.00 %', lines[0][0][1])
    assert sum(map(float, values.groups())) == pytest.approx(100, abs=0.02)
    assert heights[0] == heights[1] > 1.5 * heights[2]


def _flatten(backbone: torch.nn.Module, _: object, maps: list[torch.Tensor]) -> None:
    backbone.flat(maps[0])


def test_a_tap_that_is_no_map_is_named(pair: dict[str, Path]) -> None:
    sample, model = image_and_model(pair)
    model.backbone.flat = torch.nn.Flatten()
    model.backbone.register_forward_hook(_flatten)
    with pytest.raises(UserError, match=r"--tap: 'backbone.flat' of shape .* is not a map"):
        flow_parts(model, sample, 'backbone.flat', model)


def test_mistakes_are_one_line(
    pair: dict[str, Path], tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    (tmp_path / 'notes.pth').write_text('no checkpoint')
    (tmp_path / 'full').mkdir()
    (tmp_path / 'full' / 'mine.txt').write_text('mine')
    other = tiny_config(tmp_path / 'run')
    other.model.decode_head.embed_dim = 8
    other.dump(tmp_path / 'other.py')
    config, student = pair['config'], pair['student']
    lost = 'model.teacher.checkpoint=lost.pth'
    for arguments, message in (
        ((config, tmp_path / 'lost.pth'), 'the checkpoint'),
        ((config, tmp_path / 'notes.pth'), 'notes.pth'),
        ((tmp_path / 'other.py', student), 'iter_9.pth'),
        ((config, student, '--teacher', tmp_path / 'lost.pth'), 'lost.pth does not exist'),
        ((config, student, '--teacher', tmp_path / 'notes.pth'), 'notes.pth'),
        ((config, student, '--cfg-options', lost), "the teacher's checkpoint lost.pth"),
        ((config, student, '--names', '9'), "--names: the split has no image '9': it has 2"),
        ((config, student, '--tap', 'stage9'), "teacher (--tap) has no tap 'stage9'"),
        ((config, student, '--void', 'Unlabeled'), "no class 'Unlabeled': did you mean 'Unlabel"),
        ((config, student, '--void', 'Zebra'), "no class 'Zebra': there are Sky, Building"),
        ((config, student, '--images', '0'), 'is not a whole number from 1 up'),
        ((config, student, '--out', tmp_path / 'full'), 'full is not empty'),
        ((config, student, '--cfg-options', 'val_dataloader=None'), 'has no val_dataloader'),
    ):
        out = [] if '--out' in arguments else ['--out', tmp_path / 'out']
        assert run(TOOL, *arguments[:2], *out, *arguments[2:]) == 2, arguments
        error = capfd.readouterr().err
        assert message in error
        assert 'Traceback' not in error
        assert 'error: ' in error.strip().splitlines()[-1]
        assert not (tmp_path / 'out').exists()
    assert [path.name for path in (tmp_path / 'full').iterdir()] == ['mine.txt']
    assert not list(tmp_path.glob('.out*'))
