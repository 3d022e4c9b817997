"""The sections of words: what is compared, findings, suggested runs and notes."""

import shlex
import subprocess
import sys
from datetime import datetime
from importlib.metadata import version
from pathlib import Path

import mmseg_kd
from mmseg_kd.paths import without_password
from mmseg_kd.records.message import Text, message
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.reports.findings.next_runs import suggest
from mmseg_kd.reports.findings.scores import find
from mmseg_kd.reports.writing.document import NONE, Block, Bullets, Code, Heading, Paragraph


def opening(collection: Collection) -> list[Block]:
    """Return the title, where the report is from, the findings and what is compared."""
    text = message(
        '{runs} evaluated runs of {groups} settings. The report compares {metric} in percent, '
        "taken from each run's best evaluation on the validation split. Of several "
        'evaluations the best was chosen on the same images, so its score is slightly too high. '
        'Publish scores of the test split.',
        runs=sum(len(group.measured) for group in collection.groups),
        groups=len(collection.ranked),
        metric=collection.metric,
    )
    blocks = [Heading(message('Report: {title}', title=collection.title), 1)]
    blocks += [Paragraph(line, remark=True) for line in identity(collection)]
    blocks += [Heading(message('Findings')), Bullets(find(collection)), Paragraph(text, True)]
    if collection.baseline is None and len(collection.ranked) > 1:
        blocks.append(Paragraph(message('No baseline: name it with --baseline or study.baseline.')))
    return blocks


def identity(collection: Collection) -> list[Text]:
    """Return lines with date, command, versions and devices, and with the data protocol."""
    groups = [group for group in (collection.baseline, *collection.ranked) if group]
    logs = [run.log for group in groups for run in group.counted]
    devices = dict.fromkeys(log.device for log in logs if log.device)
    own = f'{mmseg_kd.__version__} {_commit()}'.strip()
    origin = message(
        '{date}: {command}. Versions: {versions}. Trained on: {device}.',
        date=f'{datetime.now():%Y-%m-%d %H:%M}',
        command=shlex.join([Path(sys.argv[0]).name, *map(without_password, sys.argv[1:])]),
        versions=f'mmseg_kd {own}, mmseg {version("onedl-mmsegmentation")}',
        device=', '.join(devices) or NONE,
    )
    protocols = list(dict.fromkeys(log.protocol for log in logs if log.protocol))
    protocol = message(
        'Data: {protocol}.'
        if len(protocols) == 1
        else 'Data: {protocol}, for the first run; others differ, see the settings.',
        protocol=next(iter(protocols), NONE),
    )
    return [origin, protocol] if protocols else [origin]


def _commit() -> str:
    """Return the commit of this project in a clone of it, else nothing."""
    root = Path(mmseg_kd.__file__).parents[1]
    command = ['git', '-C', str(root), 'describe', '--always', '--dirty', '--exclude=*']
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return ''
    return f'({found.stdout.strip()})' if found.stdout and (root / '.git').exists() else ''


def next_steps(collection: Collection) -> list[Block]:
    """Return the suggested runs."""
    pairs = [(Paragraph(each.reason), Code(each.lines)) for each in suggest(collection)]
    return [Heading(message('Next runs')), *sum(pairs, ())] if pairs else []


def remarks(collection: Collection) -> list[Block]:
    """Return what could not be read and what was left out, each note once."""
    items = list({str(note): note for note in collection.notes}.values())
    return [Heading(message('Notes')), Bullets(items)] if items else []
