"""Visit the config of a data set and of the data sets inside its wrappers."""

import re
from collections.abc import Iterator
from typing import Any

from mmseg_kd.nested import dicts

# What is left of the key of a data set in wrappers.
INNER = re.compile(r'(\.datasets?(\.\d+)?)*')


def walk(dataset: Any, where: str = 'dataset') -> Iterator[tuple[str, Any]]:
    """Yield a data set and, at any depth, those that RepeatDataset, ConcatDataset etc. wrap.

    Args:
        dataset: The config of a data set.
        where: Its key in the config.

    Yields:
        Key and config, the outermost first.
    """
    for key, found in dicts(dataset, where):
        if INNER.fullmatch(key.removeprefix(where)):
            yield key, found
