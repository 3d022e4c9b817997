"""The sections of a report, each a list of blocks, empty where it does not apply."""

from __future__ import annotations

from dataclasses import replace

from mmseg_kd.records.message import Message, Text, message
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.reports.findings.finding import find
from mmseg_kd.reports.findings.next_runs import suggest
from mmseg_kd.reports.sections import fact_tables, score_tables
from mmseg_kd.reports.writing.document import Block, Bullets, Code, Fold, Heading, Paragraph, Table

# With so many comparisons some are significant by chance.
MANY_COMPARISONS = 5
MOST_OPEN = 12
MOST_ROWS = 25


def opening(collection: Collection) -> list[Block]:
    """Return the title, what is compared on which split, and the findings."""
    text = message(
        '{runs} evaluated runs of {groups} settings. The report compares {metric} in percent, '
        "taken from each run's best evaluation on {split}. The best evaluation was chosen on "
        'the same images, so every score is slightly too high. Publish scores of the test '
        'split.',
        runs=sum(len(group.measured) for group in collection.groups),
        groups=len(collection.ranked),
        metric=collection.metric,
        split=_split(collection),
    )
    blocks: list[Block] = [
        Heading(message('Report: {title}', title=collection.title), 1),
        Paragraph(text),
    ]
    if collection.baseline is None and len(collection.ranked) > 1:
        text = message('No baseline was found. Name one with --baseline NAME.')
        blocks.append(Paragraph(text))
    return [*blocks, Heading(message('Findings')), Bullets(find(collection))]


def comparison(collection: Collection) -> list[Block]:
    """Return the table of all runs, and the statistics."""
    table = score_tables.comparison_table(collection)
    blocks: list[Block] = [Heading(message('Comparison'))]
    if len(table.rows) > MOST_ROWS:
        blocks.append(replace(table, rows=table.rows[:MOST_ROWS]))
    blocks += [_folded(table, MOST_ROWS), *_statistics(collection)]
    if any(len(group.measured) > 1 for group in collection.groups):
        blocks.append(Fold(message('Every run by seed'), [score_tables.seeds_table(collection)]))
    return blocks


def _statistics(collection: Collection) -> list[Block]:
    table = score_tables.statistics_table(collection)
    if table is None:
        return []
    explanation = message(
        'Runs are paired by seed, because the seed fixes the order of the data and the '
        'augmentation. Every difference to the baseline in this report is the mean over the '
        'seeds that both have. ± and the first interval are the 95 % confidence interval of '
        "that mean by Student's t. The second interval is from the bootstrap (BCa), which is "
        'too narrow for few seeds. The verdict is better or worse only if the first interval '
        'excludes 0, and never with fewer than 3 seeds. The sign test cannot fall below 0.05 '
        'with fewer than 6 seeds.'
    )
    blocks = [
        Heading(message('Differences to {baseline}', baseline=collection.baseline.name), 3),
        _folded(table),
        Paragraph(explanation, remark=True),
    ]
    intervals = sum(row[4] != score_tables.NONE for row in table.rows)
    if intervals >= MANY_COMPARISONS:
        text = message(
            'About {chance} of {count} such intervals exclude 0 by chance alone.',
            count=intervals,
            chance=f'{intervals / 20:.2g}',
        )
        blocks.append(Paragraph(text, remark=True))
    return blocks


def settings(collection: Collection) -> list[Block]:
    """Return the settings that differ between the runs."""
    found = fact_tables.settings_table(collection)
    if found is None:
        return []
    table, name = found
    text = message('Differences from {name}; all other settings are equal.', name=name)
    remark = [] if name is None else [Paragraph(text)]
    return [Heading(message('Settings that differ')), *remark, _folded(table)]


def evaluations(collection: Collection) -> list[Block]:
    """Return every evaluation of every run."""
    folds: list[Block] = []
    for group in collection.groups:
        for run in group.measured:
            name, count = score_tables.group_label(group, run), len(run.evaluations)
            summary = message('{name}: {count} evaluations', name=name, count=count)
            folds.append(Fold(summary, [score_tables.evaluation_table(run, collection.metric)]))
    if len(folds) > MOST_OPEN:
        folds = [Fold(message('All {count} runs', count=len(folds)), folds)]
    return [Heading(message('Evaluations')), *folds]


def teachers(collection: Collection) -> list[Block]:
    """Return the teacher reports."""
    table = fact_tables.teacher_table(collection)
    return [] if table is None else [Heading(message('Teachers')), table]


def costs(collection: Collection) -> list[Block]:
    """Return time, memory, throughput, and the files of the best checkpoints."""
    parts = (
        (message('Time and memory'), fact_tables.cost_table(collection)),
        (message('Best checkpoints'), fact_tables.checkpoint_table(collection)),
    )
    blocks: list[Block] = []
    for heading, table in parts:
        if table is not None:
            blocks += [Heading(heading), _folded(table)]
    return blocks


def next_steps(collection: Collection) -> list[Block]:
    """Return the suggested runs."""
    blocks: list[Block] = []
    for suggestion in suggest(collection):
        language = 'bash' if suggestion.lines.startswith('python ') else 'python'
        blocks += [Paragraph(suggestion.reason), Code(suggestion.lines, language)]
    return [Heading(message('Next runs')), *blocks] if blocks else []


def remarks(notes: list[Message]) -> list[Block]:
    """Return what could not be read and what was left out, each note once."""
    items = list({str(note): note for note in notes}.values())
    return [Heading(message('Notes')), Bullets(items)] if items else []


def _folded(table: Table, most: int = MOST_OPEN) -> Block:
    """Put a table with many rows under one line."""
    if len(table.rows) <= most:
        return table
    return Fold(message('All {count} rows', count=len(table.rows)), [table])


def _split(collection: Collection) -> Text:
    names = dict.fromkeys(_data(run) for run in collection.runs if run.evaluations)
    return ', '.join(filter(None, names)) or message('the validation split')


def _data(run: RunRecord) -> str | None:
    dataset = run.setting('val_dataloader', 'dataset')
    if not isinstance(dataset, dict) or 'type' not in dataset:
        return None
    split = dataset.get('split') or dataset.get('ann_file') or 'val'
    return f'{dataset["type"]} {split}'
