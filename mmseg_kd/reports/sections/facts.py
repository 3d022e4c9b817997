"""The sections on facts about runs: settings, teachers, time and memory."""

from mmseg_kd.records.message import message, messages, number
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.reports.comparing.differing_settings import differing_settings
from mmseg_kd.reports.writing.document import NONE, Block, Heading, Paragraph, Table, titled


def settings(collection: Collection) -> list[Block]:
    """Return what differs in the settings of each group from the baseline, or from the first."""
    groups = [group for group in collection.groups if group.first.config]
    if not groups:
        return []
    base = collection.baseline if collection.baseline in groups else groups[0]
    rows = []
    for group in groups:
        own = differing_settings([base.first.config, group.first.config])
        lines = [f'{key} = {text}' for key, (_, text) in own.items()]
        rows.append([group.name, '\n'.join(lines) or NONE])
    text = message('Differences from {name}; all other settings are equal.', name=base.name)
    table = Table(messages('run', 'settings'), rows, 'settings')
    differ = any(lines != NONE for _, lines in rows)
    return [Heading(message('Settings that differ')), Paragraph(text), table] if differ else []


def teachers(collection: Collection) -> list[Block]:
    """Return the reports on all teachers, one row per file and split."""
    cards = collection.cards
    # The card has an ECE of its own, over all classes and not in percent.
    metrics = list(dict.fromkeys(n for _, _, card in cards for n in card['metrics'] if n != 'ECE'))
    rows = [
        [
            f'{group.name}: {name}',
            *(number(card['metrics'].get(metric)) for metric in metrics),
            number(card['entropy'], '.3f'),
            number(card['ece'], '.3f'),
            f'{card["checkpoint"] or NONE} (sha256 {card["sha256"][:8]})',
        ]
        for group, name, card in cards
    ]
    facts = messages('entropy', 'ECE', 'checkpoint')
    table = Table([message('student: teacher'), *metrics, *facts], rows, 'teachers')
    return titled(message('Teachers'), table)
