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
    """Name the upstream packages that are installed too, and how to part them; None without any.

    Both own the same folders, so that files of the two mix.
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
