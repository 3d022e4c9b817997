"""Tables as files for papers, the size of models, the test split, and what the page begins with."""

import csv
import json
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_model
from mmseg.registry import MODELS
from reports.run_copies import copy_run, set_curve

from mmseg_kd.models.complexity import measure_complexity
from mmseg_kd.records.message import MINUS
from mmseg_kd.records.run_record import RunRecord, read_run
from mmseg_kd.reports import report
from mmseg_kd.reports.comparing.collecting import read_collection
from mmseg_kd.reports.comparing.collection import Collection, Group
from mmseg_kd.reports.findings.scores import find
from mmseg_kd.reports.models import model_sizes
from mmseg_kd.reports.sections.scores import comparison_table
from mmseg_kd.reports.sections.words import identity, opening
from mmseg_kd.reports.writing.document import NONE, Bullets, Table, titled
from mmseg_kd.reports.writing.html_page import to_html
from mmseg_kd.reports.writing.table_files import write_table


@pytest.fixture
def seeds(trained_pair: dict[str, Path], tmp_path: Path) -> list[Path]:
    """Three seeds of baseline and student, 2.0 to 2.2 points apart; the teacher has 40."""
    made = []
    for seed in range(3):
        for name, level in (('baseline', 30.0), ('student', 32.0 + seed / 10)):
            made.append(copy_run(trained_pair[name], tmp_path / f'{name}_s{seed}', seed))
            set_curve(made[-1], [20.0, 25.0, level])
            if name == 'student':
                file = made[-1] / 'teacher.json'
                card = json.loads(file.read_text())
                card['metrics']['mIoU11'] = 40.0
                file.write_text(json.dumps(card))
    return made


def cells(folders: list[Path]) -> dict[str, str]:
    """The row of the student in the comparison by heading."""
    collection = read_collection(folders)
    table = comparison_table(collection, collection.compared, {})
    (row,) = (row for row in table.rows if row[0] == 'student')
    return dict(zip(map(str, table.headings), map(str, row), strict=True))


def test_the_first_findings_are_the_difference_and_the_teacher(seeds: list[Path]) -> None:
    first, second = find(read_collection(seeds))[:2]
    assert (
        str(first)
        == 'student beats baseline by 2.10 mIoU11 (3 seeds, 95 % interval [+1.85, +2.35]).'
    )
    assert str(second) == 'The teacher is 10.00 mIoU11 above baseline; student closes 21 % of it.'


def test_the_gap_is_that_of_the_common_seeds(seeds: list[Path]) -> None:
    set_curve(seeds[0], [10.0, 15.0, 24.0])
    # Without the student of seed 0: 32.1 and 32.2 against 30.0, where the teacher has 40.0.
    collection = read_collection([seeds[0], *seeds[2:]])
    assert collection.baseline.score == 28.0
    assert collection.gap_closed(collection.students[0]) == pytest.approx(0.215)


def test_a_row_of_the_comparison(seeds: list[Path]) -> None:
    row = cells(seeds)
    assert row['mIoU11, val'] == '32.10 ± 0.10'
    assert (row['to baseline'], row['95 % interval']) == ('+2.10', '[+1.85, +2.35]')
    assert (row['verdict, val'], row['gap closed']) == ('better', '21 %')
    # Below three seeds there is no interval.
    row = cells(seeds[:4])
    assert (row['to baseline'], row['95 % interval']) == ('+2.05', NONE)
    assert row['verdict, val'] == 'too few seeds'


def test_time_is_the_mean_and_memory_the_peak_of_the_runs() -> None:
    runs = [RunRecord('a', Path('a'), evaluations=[dict(iteration=9, mIoU=1.0)]) for _ in range(3)]
    runs[0].log.seconds, runs[1].log.seconds = 3600.0, 3720.0
    runs[0].training['memory'] = np.array([np.nan, 20480.0])
    runs[1].training['memory'] = np.array([1024.0])
    collection = Collection('x', [Group('a', runs)], 'mIoU')
    table = comparison_table(collection, collection.groups, {})
    row = dict(zip(map(str, table.headings), table.rows[0], strict=True))
    assert (row['total time'], row['GPU memory [GiB]']) == ('1:01:00', '20.0')


def test_an_unfinished_run_is_marked_and_not_called_the_best(seeds: list[Path]) -> None:
    collection = read_collection(seeds)
    for run in collection.students[0].runs:
        run.state = 'waiting'
    names = [str(row[0]) for row in comparison_table(collection, collection.compared, {}).rows]
    assert names == ['baseline', 'student (unfinished)']
    text = ' '.join(map(str, find(collection)))
    assert 'baseline reached 30.00 mIoU11, the highest mean.' in text
    assert '3 runs are not finished and left out of the comparisons.' in text


def test_differences_have_a_true_minus_sign(seeds: list[Path]) -> None:
    for folder in seeds[1::2]:
        set_curve(folder, [20.0, 25.0, 29.5])
    assert cells(seeds)['to baseline'] == f'{MINUS}0.50'


def test_the_test_split_is_shown_next_to_validation(seeds: list[Path]) -> None:
    assert cells(seeds)['mIoU11, test'] == NONE
    for folder in seeds:
        score = 31.0 if 'student' in folder.name else 30.0
        content = {'checkpoint': 'best.pth', 'metrics': {'mIoU11': score, 'mIoU': 20.0}}
        (folder / 'test.json').write_text(json.dumps(content))
    row = cells(seeds)
    assert (row['mIoU11, test'], row['to baseline, test']) == ('31.00 ± 0.00', '+1.00')
    assert 'beats baseline by 1.00 mIoU11 on the test split (3 seeds, ' in '\n'.join(
        map(str, find(read_collection(seeds)))
    )


@pytest.mark.parametrize('text', ['{', '[]', '{"checkpoint": 5, "metrics": {}}', '9' * 5000])
def test_a_damaged_test_is_left_out(seeds: list[Path], text: str) -> None:
    (seeds[0] / 'test.json').write_text(text)
    assert read_run(seeds[0]).test == {}


def test_a_teacher_stands_apart_from_the_ranking(seeds: list[Path]) -> None:
    file = seeds[1] / 'teacher.json'
    card = json.loads(file.read_text()) | {'checkpoint': str(seeds[0] / 'iter_9.pth')}
    file.write_text(json.dumps(card))
    collection = read_collection(seeds, 'student')
    assert [group.name for group in collection.teachers] == ['baseline']
    assert [group.name for group in collection.compared] == ['student']
    assert not collection.students


def test_each_architecture_is_counted_once(trained_pair: dict[str, Path]) -> None:
    collection = read_collection(list(trained_pair.values()), 'baseline')
    sizes = model_sizes(collection)
    assert sizes.keys() == {'baseline', 'student'}
    # The same model with and without distillation.
    assert sizes['student'] == sizes['baseline']
    parameters, gmacs, milliseconds = sizes['student']
    model = MODELS.build(tiny_model())
    assert parameters == sum(p.numel() for p in model.parameters()) / 1e6
    assert gmacs == measure_complexity(model, (64, 64))[-1].macs / 1e9
    assert milliseconds > 0
    assert not collection.notes


def test_the_page_begins_with_what_it_is(
    seeds: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    collection = read_collection(seeds)
    monkeypatch.setattr(sys, 'argv', ['study.py', 'report', '--storage=mysql://me:secret@host/x'])
    origin, protocol = map(str, identity(collection))
    assert 'study.py report --storage=mysql://me:***@host/x' in origin.replace("'", '')
    assert 'mmseg_kd 0.' in origin and 'torch 2.' in origin and 'Trained on: ' in origin
    assert protocol.startswith('Data: 8 training images, 2 for validation; crop (64, 64)')
    kinds = [type(block) for block in opening(collection)]
    assert kinds.index(Bullets) == 4


def test_tables_are_files_for_papers(tmp_path: Path) -> None:
    table = Table(['run', 'a_b & c', 'x'], [['s_1', f'{MINUS}0.50', NONE], ['50 %', '±', '1']], 't')
    files = write_table(table, tmp_path)
    with files[0].open(encoding='utf-8-sig', newline='') as file:
        assert list(csv.reader(file)) == [
            ['run', 'a_b & c', 'x'],
            ['s_1', '-0.50', ''],
            ['50 %', '±', '1'],
        ]
    text = files[1].read_text(encoding='utf-8')
    assert text.startswith(
        '\\begin{tabular}{lrr}\n\\toprule\nrun & a\\_b \\& c & x \\\\\n\\midrule\n'
    )
    assert 's\\_1 & $-$0.50 & -- \\\\\n50 \\% & $\\pm$ & 1 \\\\\n\\bottomrule' in text


def test_empty_columns_are_left_out_and_names_may_break() -> None:
    table = Table(['run', 'a', 'b'], [['model.kl_loss', NONE, '0.95']])
    blocks = titled('h', table)
    assert blocks[1].headings == ['run', 'b']
    page = to_html(blocks, 'en')
    assert 'model.<wbr>kl_<wbr>loss' in page
    assert '0.95' in page


def test_figures_are_english_without_a_korean_font(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(report, 'font_family', lambda: ['sans-serif', 'Malgun Gothic'])
    assert report.figure_language('ko') == 'ko'
    assert capsys.readouterr().out == ''
    monkeypatch.setattr(report, 'font_family', lambda: ['sans-serif'])
    assert (report.figure_language('en'), report.figure_language('ko')) == ('en', 'en')
    assert capsys.readouterr().out.count('\n') == 1
