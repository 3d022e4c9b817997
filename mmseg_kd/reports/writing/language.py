"""The languages of a report."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmseg_kd.errors import UserError
from mmseg_kd.records.message import CATALOGUE

LANGUAGES = ('en', 'ko')


@contextmanager
def language(lang: str) -> Iterator[None]:
    """Write messages in a language until the block ends.

    Raises:
        UserError: There is no such language.
    """
    if lang not in LANGUAGES:
        raise UserError(f'--lang {lang}: choose from {", ".join(LANGUAGES)}')
    korean = json.loads(Path(__file__).with_name('ko.json').read_text(encoding='utf-8'))
    token = CATALOGUE.set(korean if lang == 'ko' else {})
    try:
        yield
    finally:
        CATALOGUE.reset(token)
