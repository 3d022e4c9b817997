"""The sections of a report, each a list of blocks, empty where there is nothing to say."""

from __future__ import annotations

from dataclasses import replace

from mmseg_kd.records.message import Message, Text, message
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.reports.findings.finding import find
from mmseg_kd.reports.findings.next_runs import suggest
from mmseg_kd.reports.sections.fact_tables import (
    checkpoint_table,
    cost_table,
    settings_table,
    teacher_table,
)
from mmseg_kd.reports.sections.score_tables import (
    NONE,
    comparison_table,
    evaluation_table,
    group_label,
    seeds_table,
    statistics_table,
)
from mmseg_kd.reports.writing.document import Block, Bullets, Code, Fold, Heading, Paragraph, Table

# A comparison more or less does not matter; with many some succeed by chance.
MANY_COMPARISONS = 5
MOST_OPEN = 12
MOST_ROWS = 25


def opening(collection: Collection) -> list[Block]:
    """Title, what is compared on which split, and the findings."""
    runs = sum(len(group.measured) for group in collection.groups)
    blocks: list[Block] = [
        Heading(message('Report: {title}', title=collection.title), 1),
        Paragraph(
            message(
                '{runs} evaluated runs of {groups} settings. Compared is {metric}, in percent, of '
                "each run's best evaluation on {split}. The best was chosen on the same images, "
                'which flatters every run alike; figures to publish come from the test split.',
                runs=runs,
                groups=len(collection.ranked),
                metric=collection.metric,
                split=_split(collection),
            )
        ),
    ]
    if collection.baseline is None and len(collection.ranked) > 1:
        blocks.append(
            Paragraph(message('No run is named as the baseline; --baseline NAME names one.'))
        )
    return [*blocks, Heading(message('Findings')), Bullets(find(collection))]


def comparison(collection: Collection) -> list[Block]:
    """The table of all runs, and what the statistics say."""
    blocks: list[Block] = [
        Heading(message('Comparison')),
        *_shortened(comparison_table(collection)),
    ]
    table = statistics_table(collection)
    if table is not None:
        blocks += [
            Heading(message('Differences to {baseline}', baseline=collection.baseline.name), 3),
            _folded(table),
            Paragraph(
                message(
                    'Runs are paired by their seed, which fixes the order of the data and the '
                    'augmentation; every difference to the baseline in this report is the mean '
                    'over the seeds that both have. ± and the first interval are 95 % confidence '
                    "of that mean by Student's t; the second by the bootstrap (BCa), which of few "
                    'seeds is too narrow. Better and worse are said where the first leaves 0 out, '
                    'and never of fewer than 3 seeds. The sign test cannot fall below 0.05 with '
                    'fewer than 6 seeds.'
                ),
                remark=True,
            ),
        ]
        intervals = sum(row[4] != NONE for row in table.rows)
        if intervals >= MANY_COMPARISONS:
            blocks.append(
                Paragraph(
                    message(
                        'Of {count} such intervals about {chance} leave 0 out by chance alone.',
                        count=intervals,
                        chance=f'{intervals / 20:.2g}',
                    ),
                    remark=True,
                )
            )
    if any(len(group.measured) > 1 for group in collection.groups):
        blocks.append(Fold(message('Every run by its seed'), [seeds_table(collection)]))
    return blocks


def settings(collection: Collection) -> list[Block]:
    """What differs between the runs."""
    found = settings_table(collection)
    if found is None:
        return []
    table, compared_with = found
    blocks: list[Block] = [Heading(message('Settings that differ')), _folded(table)]
    if compared_with is not None:
        text = message('What differs from {name}; everything else is equal.', name=compared_with)
        blocks.insert(1, Paragraph(text))
    return blocks


def evaluations(collection: Collection) -> list[Block]:
    """Every evaluation of every run."""
    folds: list[Block] = [
        Fold(
            message(
                '{name}: {count} evaluations',
                name=group_label(group, run),
                count=len(run.evaluations),
            ),
            [evaluation_table(run, collection.metric)],
        )
        for group in collection.groups
        for run in group.measured
    ]
    if len(folds) > MOST_OPEN:
        folds = [Fold(message('All {count} runs', count=len(folds)), folds)]
    return [Heading(message('Evaluations')), *folds]


def teachers(collection: Collection) -> list[Block]:
    """The teachers' cards."""
    table = teacher_table(collection)
    return [] if table is None else [Heading(message('Teachers')), table]


def costs(collection: Collection) -> list[Block]:
    """Time, memory, throughput, and where the checkpoints are."""
    blocks: list[Block] = []
    table = cost_table(collection)
    if table is not None:
        blocks += [Heading(message('Time and memory')), _folded(table)]
    files = checkpoint_table(collection)
    if files is not None:
        blocks += [Heading(message('Best checkpoints')), _folded(files)]
    return blocks


def next_steps(collection: Collection) -> list[Block]:
    """Suggested runs."""
    blocks: list[Block] = []
    for suggestion in suggest(collection):
        language = 'bash' if suggestion.lines.startswith('python ') else 'python'
        blocks += [Paragraph(suggestion.reason), Code(suggestion.lines, language)]
    return [Heading(message('Next runs')), *blocks] if blocks else []


def remarks(notes: list[Message]) -> list[Block]:
    """What could not be read and what was left out."""
    # A note that several runs have is told once.
    items = list({str(note): note for note in notes}.values())
    return [Heading(message('Notes')), Bullets(items)] if items else []


def _shortened(table: Table) -> list[Block]:
    """The first rows of a long table, and all of it under one line."""
    if len(table.rows) <= MOST_ROWS:
        return [table]
    short = replace(table, rows=table.rows[:MOST_ROWS])
    return [short, Fold(message('All {count} rows', count=len(table.rows)), [table])]


def _folded(table: Table) -> Block:
    """The table, under one line where it has many rows."""
    if len(table.rows) <= MOST_OPEN:
        return table
    return Fold(message('All {count} rows', count=len(table.rows)), [table])


def _split(collection: Collection) -> Text:
    names = dict.fromkeys(
        _data(run) for run in collection.runs if run.evaluations and not run.outside
    )
    names.pop(None, None)
    return ', '.join(names) if names else message('the validation split')


def _data(run: RunRecord) -> str | None:
    dataset = run.setting('val_dataloader', 'dataset')
    if not isinstance(dataset, dict) or 'type' not in dataset:
        return None
    split = dataset.get('split') or dataset.get('ann_file') or 'val'
    return f'{dataset["type"]} {split}'
