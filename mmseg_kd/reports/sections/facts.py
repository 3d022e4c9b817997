"""The sections on facts about runs: settings, teachers, time and memory."""

from __future__ import annotations

from mmseg_kd.records.message import message, messages
from mmseg_kd.reports.comparing.collection import Collection
from mmseg_kd.reports.comparing.differing_settings import differing_settings
from mmseg_kd.reports.sections.scores import number
from mmseg_kd.reports.writing.document import NONE, Block, Paragraph, Table, titled


def settings(collection: Collection) -> list[Block]:
    """Return what differs in the settings of each group from the baseline, or from the first."""
    heading = message('Settings that differ')
    groups = [group for group in collection.groups if group.runs[0].config]
    configs = {group.name: group.runs[0].config for group in groups}
    if not differing_settings(list(configs.values())):
        return []
    first = collection.baseline if collection.baseline in groups else groups[0]
    rows = []
    for name, config in configs.items():
        own = differing_settings([configs[first.name], config])
        rows.append([name, '\n'.join(f'{key} = {text}' for key, (_, text) in own.items()) or NONE])
    text = message('Differences from {name}; all other settings are equal.', name=first.name)
    title, table = titled(heading, Table(messages('run', 'settings'), rows, 'settings'))
    return [title, Paragraph(text), table]


def teachers(collection: Collection) -> list[Block]:
    """Return the reports on all teachers, one row per file and split."""
    cards = {}
    for group in collection.groups:
        for name, card in (item for run in group.runs for item in run.teachers.items()):
            key = (card['sha256'], card.get('data'))
            cards.setdefault(key, (f'{group.name}: {name}', card, card.get('metrics') or {}))
    metrics = list(dict.fromkeys(name for _, _, scores in cards.values() for name in scores))
    same = {True: message('yes'), False: message('no')}
    rows = [
        [
            name,
            *(number(scores.get(metric)) for metric in metrics),
            number(card.get('entropy'), '.3f'),
            number(card.get('ece'), '.3f'),
            same.get(card.get('deterministic'), NONE),
            f'{card.get("checkpoint", NONE)} (sha256 {card["sha256"][:8]})',
        ]
        for name, card, scores in cards.values()
    ]
    facts = messages('entropy', 'ECE', 'deterministic', 'checkpoint')
    table = Table([message('student: teacher'), *metrics, *facts], rows, 'teachers')
    return titled(message('Teachers'), table)
