"""The report as a whole: what is in it, what it overwrites, how long it takes."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reports.drawn_figures import keep_figures
from reports.run_copies import copy_run, write_study

from mmseg_kd.errors import UserError
from mmseg_kd.records.run_record import read_run
from mmseg_kd.reports.comparing.collecting import read_collection
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.reports.report import other_report, write_report
from mmseg_kd.reports.sections import facts, scores, words
from mmseg_kd.reports.writing.markdown import to_markdown


class Page(HTMLParser):
    """Tags that were opened and closed, addresses, and cells of each row."""

    VOID = ('meta', 'img', 'br', 'wbr')

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.rows: list[int] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.addresses += [v for k, v in attrs if k in ('src', 'href')]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == 'tr':
            self.rows.append(0)
        if tag in ('td', 'th'):
            self.rows[-1] += 1

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture
def folders(trained_pair: dict[str, Path], tmp_path: Path) -> list[Path]:
    made = []
    for seed in range(3):
        for name, source in trained_pair.items():
            made.append(copy_run(source, tmp_path / f'{name}_s{seed}', seed, 1.5 * seed))
    return made


@pytest.mark.parametrize('lang', ['en', 'ko'])
def test_the_page_needs_nothing_else(folders: list[Path], tmp_path: Path, lang: str) -> None:
    out = tmp_path / 'out'
    files = write_report(folders, out, lang)
    assert files[:2] == [out / 'report.md', out / 'report.html']
    names = {file.name for file in files[2:]}
    assert names == {'learning_curves.png', 'class_iou.png', 'confusion.png', 'losses.png'}
    assert all(file.stat().st_size > 10_000 for file in files[2:])
    text = files[1].read_text(encoding='utf-8')
    page = Page(text)
    assert not page.open
    assert page.addresses
    assert all(a.startswith(('data:image/png;base64,', '#')) for a in page.addresses)
    assert f'<html lang="{lang}">' in text
    assert not [file for file in out.rglob('*') if '.tmp' in file.name]


def test_the_markdown_and_the_figures_have_the_numbers(
    folders: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures = keep_figures(monkeypatch)
    text = write_report(folders, tmp_path / 'out')[0].read_text(encoding='utf-8')
    scores = {}
    for folder in folders[:2]:
        (file,) = folder.glob('*/vis_data/scalars.json')
        rows = map(json.loads, file.read_text().splitlines())
        scores[folder.name] = [row for row in rows if 'mIoU' in row]
    best = max(scores['student_s0'], key=lambda row: row['mIoU11'])
    line = f'| student | 0 | {best["mIoU11"]:.2f} | {best["step"]} |'
    assert line in text.replace('**', '')
    best = [max(r['mIoU11'] for r in scores[name]) for name in ('student_s0', 'baseline_s0')]
    gain = f'{best[0] - best[1]:+.2f}'.replace('-', '\u2212')
    (row,) = re.findall(r'\| student \| 3 \| .*', text.replace('**', ''))
    assert f' | {gain} | \\[{gain}, {gain}\\] | ' in row
    assert 'model.kd_losses.kl_loss' in text
    assert re.search(r'!\[.+\]\(figures/learning_curves\.png\)', text)
    # Every row of a table has the cells of its heading.
    for block in re.findall(r'(?:^\|.*\n)+', text, re.MULTILINE):
        assert len({line.count(' | ') for line in block.splitlines()}) == 1

    # All three seeds have the same curve, 1.5 points apart.
    lines = {line.get_label(): line for line in figures['learning_curves'].axes[0].lines}
    for name in ('baseline', 'student'):
        curve = [row['mIoU11'] + 1.5 for row in scores[f'{name}_s0']]
        assert lines[name].get_ydata() == pytest.approx(curve)
    base, student = map(read_run, folders[:2])
    (own, panel), (matrix, _) = figures['class_iou'].axes, figures['confusion'].axes
    at_best = [run.classes[run.best('mIoU11')['iteration']] for run in (base, student)]
    iou = {line.get_label(): line.get_xdata() for line in own.lines}
    expected = [np.array(list(classes.iou.values())) for classes in at_best]
    assert iou['baseline'] == pytest.approx(expected[0], nan_ok=True)
    assert iou['student'] == pytest.approx(expected[1], nan_ok=True)
    assert panel.lines[0].get_xdata() == pytest.approx(expected[1] - expected[0], nan_ok=True)
    shares = [100 * x / x.sum(axis=1, keepdims=True) for x in (c.confusion for c in at_best)]
    drawn = matrix.collections[0].get_array().filled(np.nan)
    assert drawn == pytest.approx(shares[1] - shares[0], nan_ok=True)
    losses = {axes.get_title(loc='left'): axes.lines for axes in figures['losses'].axes}
    assert list(losses) == ['baseline', 'student']
    drawn = {line.get_label(): line.get_ydata() for line in losses['student']}
    for name in ('decode.loss_ce', 'kl_loss', 'at_loss', 'sp_loss'):
        assert drawn[name].tolist() == student.training[name].tolist()


def test_names_are_no_markup(folders: list[Path], tmp_path: Path) -> None:
    study = tmp_path / 'study'
    study.mkdir()
    name = 'kd_<b>|*x*'
    copy_run(folders[0], study / 'a')
    copy_run(folders[1], study / 'b')
    write_study(study, [dict(name='base', work_dir='a'), dict(name=name, work_dir='b')])
    markdown, page = write_report([study], study)[:2]
    assert '<b>' not in page.read_text(encoding='utf-8')
    assert 'kd\\_&lt;b>\\|\\*x\\*' in markdown.read_text(encoding='utf-8')


def test_names_are_no_links(folders: list[Path], tmp_path: Path) -> None:
    names = ['[a](http://evil.example)', r'\[b](c)', '![d](www.evil.example)']
    for i in range(len(names)):
        copy_run(folders[0], tmp_path / 'study' / str(i))
    runs = [dict(name=name, work_dir=str(i)) for i, name in enumerate(names)]
    write_study(tmp_path / 'study', runs, baseline=names[0])
    text = write_report([tmp_path / 'study'], tmp_path / 'out')[0].read_text(encoding='utf-8')
    # Markdown reads neither code nor a line of HTML; a picture is meant.
    prose = re.sub(r'```.*?```|<!--.*?-->|<summary>[^\n]*', '', text, flags=re.DOTALL)
    lines = [line.removeprefix('![') for line in prose.splitlines()]
    assert not [line for line in lines if re.search(r'(?<!\\)(?:\\\\)*\[', line)]
    assert 'http://' not in prose and 'www.' not in prose
    assert r'\[a\](http:&#47;/evil.example)' in prose


DEEP = 50_000 * '[' + 50_000 * ']'
# A value for every number and name in a file, as text of JSON or Python.
DAMAGE = {
    'digits': 5000 * '9',
    'floats': '1e999',
    'text': '"9"',
    'lists': '[["a"]]',
    'nothing': 'null',
}


@pytest.mark.parametrize('value', DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize(
    ('name', 'keys'),
    [
        ('teacher.json', ['mIoU', 'entropy', 'sha256', 'data', 'deterministic', 'checkpoint']),
        ('gradients.jsonl', ['features', 'raw', 'iter', 'cosine', 'task']),
        ('confusion.jsonl', ['iter', 'classes', 'matrix']),
        ('scalars.json', ['mIoU11', 'step', 'loss', 'lr', 'time']),
    ],
)
def test_damaged_values_are_left_out(
    trained_pair: dict[str, Path], tmp_path: Path, name: str, keys: list[str], value: str
) -> None:
    baseline = copy_run(trained_pair['baseline'], tmp_path / 'baseline')
    for key in keys:
        folder = copy_run(trained_pair['student'], tmp_path / key)
        (file,) = folder.rglob(name)
        lines = file.read_text().splitlines() if name != 'teacher.json' else [file.read_text()]
        lines = [json.dumps(replaced(json.loads(line), key)) for line in lines]
        file.write_text('\n'.join(lines).replace('"HERE"', value))
        assert value in file.read_text()
        text = described(read_collection([baseline, folder]))
        assert text.startswith('# Report')
        assert not re.search(r'\b(inf|nan)\b|99999', text)


def replaced(node: Any, key: str) -> Any:
    if isinstance(node, dict):
        return {k: 'HERE' if k == key else replaced(v, key) for k, v in node.items()}
    return [replaced(item, key) for item in node] if isinstance(node, list) else node


def described(collection: Collection) -> str:
    parts = (
        words.opening,
        facts.settings,
        facts.teachers,
        words.next_steps,
    )
    blocks = [block for part in parts for block in part(collection)]
    return to_markdown([*blocks, *scores.comparison(collection, {})])


def test_a_damaged_folder_is_drawn(trained_pair: dict[str, Path], tmp_path: Path) -> None:
    baseline = copy_run(trained_pair['baseline'], tmp_path / '$x$ and $y')
    student = copy_run(trained_pair['student'], tmp_path / 'student')
    (student / 'teacher.json').write_text(DEEP)
    (log,) = student.glob('*/*.log')
    log.write_text(re.sub(r'\d{4}/\d\d/\d\d \d\d:', '2026/13/45 99:', log.read_text()))
    (config,) = student.glob('*/vis_data/config.py')
    config.write_text('train_cfg = [1]\nmodel = 5\nrandomness = "x"\n' + 200 * '(')
    for folder in (baseline, student):
        file = folder / 'confusion.jsonl'
        file.write_text(file.read_text().replace('"Sky"', r'"$\\frac{1}$"'))
    file.write_text(file.read_text() + '\n' + DEEP + '\n{"iter": 9, "classes": [], "matrix": []}')
    collection = read_collection([baseline, student])
    notes = ' '.join(map(str, collection.notes))
    assert 'teacher.json: damaged, left out' in notes and 'the config cannot be read' in notes
    assert collection.groups[1].runs[0].log.seconds is None
    files = write_report([baseline, student], tmp_path / 'out', images=0)
    assert 'class_iou.png' in {file.name for file in files}


def test_another_report_is_not_overwritten(folders: list[Path], tmp_path: Path) -> None:
    out = tmp_path / 'out'
    write_report(folders[:1], out)
    assert other_report(folders[:1], out) is None
    # The same with more replaces it; fewer or others do not.
    assert other_report(folders, out) is None
    before = (out / 'report.md').read_bytes()
    with pytest.raises(UserError, match='is a report of other runs'):
        write_report(folders[1:], out)
    assert (out / 'report.md').read_bytes() == before
    (out / 'report.md').write_text('# Written by hand\n')
    assert other_report(folders[:1], out) == out / 'report.md'
    (out / 'report.md').unlink()
    assert other_report(folders[:1], out) == out / 'report.html'
    write_report(folders[:1], out, overwrite=True)
    assert other_report(folders[:1], out) is None


def test_nothing_is_written_when_nothing_can_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match='does not exist'):
        write_report([tmp_path / 'lost'], tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


def test_a_study_that_has_only_begun(folders: list[Path], tmp_path: Path) -> None:
    runs = [
        dict(name='baseline', work_dir='baseline_s0'),
        dict(name='student', work_dir='none', state='waiting'),
        dict(name='other', work_dir='none', state='failed', error='CUDA out of memory'),
    ]
    write_study(tmp_path, runs, baseline='baseline')
    text = write_report([tmp_path], tmp_path)[0].read_text(encoding='utf-8')
    assert 'other, seed 0 failed: CUDA out of memory' in text
    assert '1 runs have not begun.' in text
    write_study(tmp_path, runs[1:])
    (tmp_path / 'empty').mkdir()
    for more in ([], [tmp_path / 'empty']):
        with pytest.raises(UserError, match='has been evaluated yet'):
            write_report([tmp_path, *more], tmp_path)
