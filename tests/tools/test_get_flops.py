"""The table of MACs; the numbers are tested in tests/models/test_complexity.py."""

from pathlib import Path

import pytest
from conftest import run

BASELINE = 'local_configs/segformer/B0/segformer.b0.512x512.camvid.py'
STUDENT = 'local_configs/segformer/B0/segformer.b0.512x512.camvid.kd.py'
TOOL = 'analysis_tools/get_flops.py'


def rows(printed: str) -> list[list[str]]:
    lines = [line for line in printed.splitlines() if line.startswith('|')]
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in lines]


def test_the_published_count(capfd: pytest.CaptureFixture) -> None:
    # ADE20K's 150 classes, for which SegFormer-B0 is published with 8.4 G.
    options = ['--cfg-options', 'model.decode_head.num_classes=150']
    assert run(TOOL, BASELINE, '--shape', 512, 512, *options) == 0
    printed = capfd.readouterr().out
    assert 'image of 512x512' in printed
    head, *parts, total = rows(printed)
    assert head == ['part', 'parameters (M)', 'GMACs', 'share']
    assert [part[0] for part in parts] == ['backbone', 'decode_head']
    assert total == ['total', '3.75', '8.39', '100 %']


def test_student_and_teacher_apart(capfd: pytest.CaptureFixture) -> None:
    # Neither the teacher's checkpoint nor ImageNet weights are there.
    assert run(TOOL, STUDENT) == 0
    printed = capfd.readouterr().out
    student, teacher = (row for row in rows(printed) if row[0] == 'total')
    assert student[1:3] == ['3.72', '7.81']
    assert teacher[1] == '27.36'
    assert 'segformer.b2.512x512.camvid.py' in printed


def test_a_shape_is_height_and_width(capfd: pytest.CaptureFixture) -> None:
    assert run(TOOL, BASELINE, '--shape', 256, 512) == 0
    printed = capfd.readouterr().out
    assert 'image of 256x512' in printed
    # Of a square image it would be 7.81; attention grows with the square of the area.
    assert rows(printed)[-1][:3] == ['total', '3.72', '3.64']


def test_mistakes_are_one_line(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    bare = tmp_path / 'bare.py'
    bare.write_text("model = dict(type='EncoderDecoder', decode_head=dict(type='FCNHead'))")
    for arguments, message in (
        ((tmp_path / 'lost.py',), 'lost.py does not exist'),
        ((BASELINE, '--shape', 16, 16), 'at least 32 pixels'),
        ((BASELINE, '--cfg-options', 'model.decode_head.in_index=[0]'), 'cannot be built'),
        ((bare,), "missing 1 required positional argument: 'backbone'"),
    ):
        assert run(TOOL, *arguments) == 2
        error = capfd.readouterr().err
        assert message in error
        assert len(error.strip().splitlines()) == 1
