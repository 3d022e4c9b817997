"""Find upstream OpenMMLab packages installed next to the forks that this project needs.

Uses the standard library only, because it runs before any of those packages is imported.
"""

from importlib.metadata import distributions

# Each fork, and the distributions whose import folder it shares.
FORKS = {
    'onedl-mmengine': ('mmengine', 'mmengine-lite'),
    'onedl-mmcv': ('mmcv', 'mmcv-full', 'mmcv-lite'),
    'onedl-mmsegmentation': ('mmsegmentation',),
}


def mixed_installation() -> str | None:
    """Return the error for upstream packages next to a fork, or None if there are none.

    A fork and its upstream package install into the same folder, so that their files mix.
    """
    upstream = [n for names in FORKS.values() for n in names if any(distributions(name=n))]
    if not upstream:
        return None
    forks = ' '.join(FORKS)
    return (
        f'{" and ".join(upstream)} {"are" if upstream[1:] else "is"} installed in the folders of '
        f'{", ".join(FORKS)}, so that files of both mix; use a fresh environment, or run '
        f'`pip uninstall -y {" ".join(upstream)} {forks}`, then `pip install {forks}`'
    )
