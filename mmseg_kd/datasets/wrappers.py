"""Visit a data set and the data sets inside its wrappers."""

from collections.abc import Iterator
from typing import Any


def walk(dataset: Any, where: str = 'dataset') -> Iterator[tuple[str, Any]]:
    """Yield a data set and, at any depth, those that RepeatDataset, ConcatDataset etc. wrap.

    Args:
        dataset: A data set, or the config of one.
        where: Its key in the config.

    Yields:
        Key and data set, the outermost first.
    """
    if dataset is None:
        return
    yield where, dataset
    is_config = isinstance(dataset, dict)
    for name in ('dataset', 'datasets'):
        inner = dataset.get(name) if is_config else getattr(dataset, name, None)
        several = isinstance(inner, list | tuple)
        for i, one in enumerate(inner if several else [inner]):
            if isinstance(one, dict) == is_config:
                yield from walk(one, f'{where}.{name}.{i}' if several else f'{where}.{name}')
