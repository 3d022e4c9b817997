"""Compose street scenes from a seed: a stand-in for CamVid that needs no download.

A scene is a street seen by a camera 1.5 m above the road. Everything is drawn from far to near.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mmseg_kd.datasets.toy import things
from mmseg_kd.datasets.toy.canvas import FAR, NEAR, Canvas

# What stands or moves on the street: how many (from, up to), their distance, and how far they are
# behind the kerb.
TRAFFIC = (
    (things.draw_tree, (0, 4), (8, 45), (0.4, 1.4)),
    (things.draw_lamp_post, (1, 4), (8, 45), (0.2, 0.5)),
    (things.draw_sign, (2, 5), (7, 30), (0.2, 0.6)),
    (things.draw_car, (1, 6), (6, 34), (-1.2, -0.9)),
    (things.draw_car, (0, 3), (8, 40), (-2.6, -1.8)),
    (things.draw_person, (1, 6), (6, 28), (0.3, 1.6)),
    (things.draw_cyclist, (0, 3), (8, 28), (-1.3, -0.3)),
    (things.draw_litter_bin, (1, 4), (5, 20), (0.3, 1.5)),
)


def draw_scene(rng: np.random.Generator, width: int, height: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw a street; return its picture (BGR, as files are read) and its class ids."""
    canvas = Canvas(rng, width, height)
    kerbs = -rng.uniform(2.4, 5.0), rng.uniform(2.2, 4.4)
    walls = kerbs[0] - rng.uniform(1.7, 3.6), kerbs[1] + rng.uniform(1.7, 3.6)
    things.draw_sky(canvas)
    things.draw_ground(canvas, kerbs, walls)
    if rng.random() < 0.65:
        draw_shadows(canvas, walls)
    things.draw_skyline(canvas)
    for side, wall in zip((-1, 1), walls, strict=True):
        draw_frontage(canvas, side, wall)
    draw_traffic(canvas, kerbs)
    if rng.random() < 0.4:
        things.draw_bonnet(canvas)
    return canvas.develop()


def draw_frontage(canvas: Canvas, side: int, wall: float) -> None:
    """Draw houses and parks along one side of the street."""
    rng, far = canvas.rng, FAR * 0.8
    green = rng.uniform(0.1, 0.5)
    while far > NEAR:
        near = max(far - rng.uniform(7, 18) * (0.5 + far / FAR), NEAR)
        kind = things.draw_park if rng.random() < green else things.draw_building
        kind(canvas, side, wall, (near, far))
        far = near


def draw_shadows(canvas: Canvas, walls: Sequence[float]) -> None:
    """Draw the shadows of the houses and trees on the sunny side."""
    rng, foot = canvas.rng, walls[0] if canvas.sun_side < 0 else walls[1]
    z, factor = NEAR, rng.uniform(0.5, 0.75)
    while z < 50:
        end, reach = z + rng.uniform(3, 14), foot - canvas.sun_side * rng.uniform(1.0, 7.0)
        canvas.shade([(foot, 0, z), (reach, 0, z + 1), (reach, 0, end + 1), (foot, 0, end)], factor)
        z = end + rng.uniform(0, 6)


def draw_traffic(canvas: Canvas, kerbs: Sequence[float]) -> None:
    """Draw everything that stands or moves on the street, from far to near."""
    rng, standing = canvas.rng, []
    for draw, number, (near, far), behind in TRAFFIC:
        for _ in range(rng.integers(*number)):
            side = rng.integers(2)
            x = kerbs[side] + (-1, 1)[side] * rng.uniform(*behind)
            standing.append((near + (far - near) * rng.random() ** 1.5, draw, x))
    for z, draw, x in sorted(standing, key=lambda thing: -thing[0]):
        draw(canvas, x, z)
