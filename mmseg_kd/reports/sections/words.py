"""The sections of words: what is compared, findings, suggested runs and notes."""

from __future__ import annotations

from mmseg_kd.records.message import Text, message
from mmseg_kd.records.run_record import RunRecord
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.reports.findings.next_runs import suggest
from mmseg_kd.reports.findings.scores import find
from mmseg_kd.reports.writing.document import Block, Bullets, Code, Heading, Paragraph


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
    blocks = [Heading(message('Report: {title}', title=collection.title), 1), Paragraph(text)]
    if collection.baseline is None and len(collection.ranked) > 1:
        text = message('No baseline was found. Name one with --baseline NAME.')
        blocks.append(Paragraph(text))
    return [*blocks, Heading(message('Findings')), Bullets(find(collection))]


def next_steps(collection: Collection) -> list[Block]:
    """Return the suggested runs."""
    pairs = [(Paragraph(reason), Code(lines)) for reason, lines in suggest(collection)]
    return [Heading(message('Next runs')), *sum(pairs, ())] if pairs else []


def remarks(collection: Collection) -> list[Block]:
    """Return what could not be read and what was left out, each note once."""
    items = list({str(note): note for note in collection.notes}.values())
    return [Heading(message('Notes')), Bullets(items)] if items else []


def _split(collection: Collection) -> Text:
    names = dict.fromkeys(_data(run) for run in collection.runs if run.evaluations)
    return ', '.join(filter(None, names)) or message('the validation split')


def _data(run: RunRecord) -> str | None:
    dataset = run.setting('val_dataloader', 'dataset')
    if not isinstance(dataset, dict) or 'type' not in dataset:
        return None
    return f'{dataset["type"]} {dataset.get("split") or dataset.get("ann_file") or "val"}'
