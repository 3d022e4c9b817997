"""Draw street scenes from a seed: a stand-in for CamVid that needs no download.

A scene is a street seen by a camera 1.5 m above the road. Everything is drawn from far to near.
"""

from collections.abc import Sequence
from functools import lru_cache

import cv2
import numpy as np

from mmseg_kd.datasets.toy.canvas import CAMERA_HEIGHT, FAR, IDS, NEAR, Canvas, Span

SPLITS = ('train', 'val', 'test')
Scene = tuple[np.ndarray, np.ndarray]

WALLS = ((150, 84, 68), (176, 150, 118), (126, 124, 122), (198, 190, 174), (138, 146, 152))
PAINTS = ((40, 42, 48), (188, 190, 194), (150, 34, 32), (34, 62, 116), (226, 226, 222))
CLOTHES = ((40, 44, 62), (120, 42, 40), (166, 158, 146), (52, 70, 54), (194, 148, 60))
LEAVES = ((74, 88, 46), (58, 76, 50), (98, 98, 58), (120, 100, 56), (84, 84, 74))
SIGNS = ((38, 74, 160), (196, 40, 40), (226, 186, 40), (226, 226, 220), (36, 108, 68))
SKIES = ((126, 158, 200), (168, 176, 186), (196, 200, 206), (110, 146, 198))
SKINS = ((206, 164, 138), (120, 86, 66), (70, 52, 44))
METALS = ((96, 98, 100), (58, 66, 62), (120, 122, 124), (120, 92, 70))
ROOFS = ((96, 66, 58), (84, 86, 92))
DARK, WHITE = ((52, 60, 72), (34, 38, 44)), (228, 228, 222)


def draw_sky(canvas: Canvas) -> None:
    """Draw a gradient with clouds."""
    blend = np.linspace(0, 1, canvas.height)[:, None, None] ** 0.7
    sky = canvas.pick(SKIES) * (1 - blend) + (canvas.haze + 24) * blend
    coarse, size = canvas.rng.random((5, 7)), (canvas.width, canvas.height)
    clouds = cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)[..., None]
    sky = sky * min(canvas.light + 0.1, 1.1) + 46 * np.clip(clouds - 0.45, 0, 1)
    canvas.image[:], canvas.labels[:] = sky.clip(0, 255), IDS['Sky']


def draw_ground(canvas: Canvas, kerbs: Span, walls: Span) -> None:
    """Draw grass, pavements and the road with its lane marks."""
    rng, grey, road = canvas.rng, canvas.rng.uniform(74, 112), (NEAR, FAR)
    canvas.panel((-60, 60), 0, road, canvas.pick(LEAVES), 'Tree')
    stone = np.array([1.18, 1.14, 1.1]) * (grey + rng.uniform(4, 34))
    canvas.panel(walls, 0, road, stone, 'Pavement')
    canvas.panel(kerbs, 0, road, (grey, grey, grey * 1.04), 'Road')
    for kerb in kerbs:
        canvas.panel((kerb - 0.09, kerb + 0.09), 0, road, (grey * 1.4,) * 3)
    middle = sum(kerbs) / 2 + rng.uniform(-0.5, 0.5)
    for z in np.arange(rng.uniform(2, 5), 60, 6):
        canvas.panel((middle - 0.08, middle + 0.08), 0, (z, z + 3), WHITE)


def draw_skyline(canvas: Canvas) -> None:
    """Draw trees at the far end of the street."""
    for x in np.arange(-70, 71, 9) + canvas.rng.uniform(-4, 4):
        size = canvas.rng.uniform(4, 7)
        canvas.disc((x, size * 0.7, FAR), (size * 1.4, size), canvas.pick(LEAVES), 'Tree')
    canvas.panel((-5, 5), (0, 1.6), FAR, (78, 78, 84), 'Unlabelled')


def draw_building(canvas: Canvas, side: int, wall: float, z: Span) -> None:
    """Draw a house along the pavement, with windows."""
    rng, colour, glass = canvas.rng, canvas.pick(WALLS), canvas.pick(DARK)
    floors = int(rng.integers(2, 5))
    height = floors * 3.0 + rng.uniform(0, 2)
    canvas.box((wall, wall + side * 12), (0, height), z, colour, 'Building')
    canvas.box((wall, wall + side * 12), (height, height + 0.7), z, canvas.pick(ROOFS), 'Building')
    pitch, width = rng.uniform(2.2, 3.4), rng.uniform(0.9, 1.7)
    for near in np.arange(z[0] + 0.6, min(z[1], 45) - width, pitch):
        for sill in np.arange(floors) * 3 + 0.9:
            for margin, paint in ((0.08, colour * 1.2), (0.0, glass)):
                span = near - margin, near + width + margin
                canvas.panel(wall, (sill - margin, sill + 1.4 + margin), span, paint)


def draw_park(canvas: Canvas, side: int, wall: float, z: Span) -> None:
    """Draw trees that are visible between the palings of a fence."""
    rng = canvas.rng
    for _ in range(7):
        depth, size = rng.uniform(*z), rng.uniform(1.4, 3.4)
        x = wall + side * rng.uniform(1.5, 9)
        canvas.disc((x, size * 0.9, depth), (size, size), canvas.pick(LEAVES), 'Tree')
    if rng.random() < 0.75:
        height, colour = rng.uniform(0.9, 1.7), canvas.pick(METALS)
        cv2.fillPoly(canvas.labels, canvas.project(
            [(wall, y, end) for y, end in ((0, z[0]), (height, z[0]), (height, z[1]), (0, z[1]))]
        ), IDS['Fence'])  # fmt: skip
        for near in np.arange(*z, rng.uniform(0.3, 0.6)):
            canvas.panel(wall, (0, height), (near, near + 0.06), colour)
        for y in (0.15, height):
            canvas.panel(wall, (y - 0.05, y), z, colour)


def draw_tree(canvas: Canvas, x: float, z: float) -> None:
    """Draw a trunk and a crown of overlapping discs."""
    rng, size, leaf = canvas.rng, canvas.rng.uniform(0.9, 1.9), canvas.pick(LEAVES)
    canvas.panel((x - 0.14, x + 0.14), (0, 3), z, (84, 72, 60), 'Tree')
    for dx, dy in rng.uniform(-size, size, (14, 2)):
        shade = 1.0 + 0.22 * dy / size + rng.uniform(-0.14, 0.14)
        radius = size * rng.uniform(0.3, 0.62)
        canvas.disc((x + dx, 2.6 + size + dy, z), (radius, radius), leaf * shade, 'Tree')


def draw_lamp_post(canvas: Canvas, x: float, z: float) -> None:
    """Draw a tall post with an arm over the road."""
    height, colour = canvas.rng.uniform(4.5, 7.5), canvas.pick(METALS)
    canvas.bar((x, x), (0, height), z, 0.13, colour, 'Pole')
    canvas.bar((x, x - np.sign(x) * 1.2), (height, height + 0.2), z, 0.1, colour, 'Pole')


def draw_sign(canvas: Canvas, x: float, z: float) -> None:
    """Draw a round, square or triangular road sign on its post."""
    rng, y, colour = canvas.rng, canvas.rng.uniform(2.3, 3.2), canvas.pick(SIGNS)
    canvas.bar((x, x), (0, y), z, 0.09, canvas.pick(METALS), 'Pole')
    shape, size = rng.integers(3), rng.uniform(0.34, 0.52)
    if shape == 0:
        for radius, paint in ((size, (206, 40, 40)), (size * 0.66, WHITE)):
            canvas.disc((x, y + size, z), (radius, radius), paint, 'SignSymbol')
    else:
        # A triangle has its third corner twice.
        top, wide = (0, size) if shape == 1 else (size * rng.uniform(0.5, 2.4),) * 2
        corners = [(x - wide, y), (x + wide, y), (x + top, y + 2 * size), (x - top, y + 2 * size)]
        canvas.fill([(*corner, z) for corner in corners], colour, 'SignSymbol')


def draw_car(canvas: Canvas, x: float, z: float) -> None:
    """Draw a car or a van, seen from behind or from the front."""
    rng, paint = canvas.rng, canvas.pick(PAINTS)
    half, waist, roof = (1.0, 1.2, 2.3) if rng.random() < 0.2 else (0.86, 0.85, 1.42)
    end, face = z + 4.2, z + 0.4
    canvas.shade([(x - 1.1, 0, z - 0.4), (x + 1.1, 0, z - 0.4), (x + 1.1, 0, end),
                  (x - 1.1, 0, end)], 0.45)  # fmt: skip
    inner = x - np.sign(x) * half
    for wheel, axle in ((x - half + 0.14, z + 0.8), (x + half - 0.14, end - 0.9)):
        canvas.panel((wheel - 0.12, wheel + 0.12), (0, 0.5), z + 0.1, DARK[1], 'Car')
        canvas.panel(inner, (0, 0.6), (axle - 0.3, axle + 0.3), DARK[1], 'Car')
    cabin = x - half + 0.14, x + half - 0.14
    canvas.box((x - half, x + half), (0.22, waist), (z, end), paint, 'Car')
    canvas.box(cabin, (waist, roof), (face, end - 1.1), paint * 0.94, 'Car')
    window = cabin[0] + 0.1, cabin[1] - 0.1
    canvas.panel(window, (waist + 0.06, roof - 0.12), face, canvas.pick(DARK))
    lamp = (206, 44, 36) if x > -0.5 else WHITE
    for corner in (x - half + 0.03, x + half - 0.29):
        canvas.panel((corner, corner + 0.26), (waist - 0.32, waist - 0.1), z, lamp)
    canvas.panel((x - 0.26, x + 0.26), (0.42, 0.55), z, WHITE)


def draw_person(
    canvas: Canvas, x: float, z: float, label: str = 'Pedestrian', ground: float = 0.0
) -> None:
    """Draw a standing or walking person."""
    height, stride = canvas.rng.uniform(1.5, 1.85), canvas.rng.uniform(0.05, 0.3)
    hip, neck, legs = ground + 0.48 * height, ground + 0.84 * height, canvas.pick(CLOTHES)
    for foot in (x - stride, x + stride):
        canvas.bar((foot, x), (ground, hip), z, 0.15, legs, label)
    body = 0.23, (neck - hip) * 0.6
    canvas.disc((x, (hip + neck) / 2, z), body, canvas.pick(CLOTHES), label)
    canvas.disc((x, neck + 0.1, z), (0.11, 0.14), canvas.pick(SKINS), label)


def draw_cyclist(canvas: Canvas, x: float, z: float) -> None:
    """Draw a cyclist, seen from the side or from behind."""
    across, frame = canvas.rng.uniform(0.2, 0.6), canvas.pick(SIGNS)
    for wheel in (x - across, x + across):
        canvas.disc((wheel, 0.35, z), (0.2 + across / 4, 0.35), DARK[1], 'Bicyclist')
        canvas.bar((wheel, x), (0.4, 0.9), z, 0.08, frame, 'Bicyclist')
    draw_person(canvas, x, z, 'Bicyclist', ground=0.25)


def draw_litter_bin(canvas: Canvas, x: float, z: float) -> None:
    """Draw a litter bin, which has no class."""
    height, colour = canvas.rng.uniform(0.8, 1.3), canvas.pick(METALS)
    canvas.box((x - 0.35, x + 0.35), (0, height), (z, z + 0.6), colour, 'Unlabelled')


def draw_bonnet(canvas: Canvas) -> None:
    """Draw the bonnet of the camera's car, 1 m from the camera at the picture's lower edge."""
    paint, height = canvas.pick(PAINTS), canvas.rng.uniform(0.04, 0.1)
    x, below = canvas.rng.uniform(-0.05, 0.05), canvas.height - canvas.centre[1]
    y = CAMERA_HEIGHT - below / canvas.focal
    canvas.disc((x, y, 1), (0.66, height), paint, 'Unlabelled')
    canvas.disc((x, y, 1), (0.5, height * 0.7), paint * 1.12, 'Unlabelled')


# What stands or moves on the street: the range of its number (the end excluded), and in metres its
# distance from the camera and its offset behind the kerb.
TRAFFIC = (
    (draw_tree, (0, 4), (8, 45), (0.4, 1.4)),
    (draw_lamp_post, (1, 4), (8, 45), (0.2, 0.5)),
    (draw_sign, (2, 5), (7, 30), (0.2, 0.6)),
    (draw_car, (1, 6), (6, 34), (-1.2, -0.9)),
    (draw_car, (0, 3), (8, 40), (-2.6, -1.8)),
    (draw_person, (1, 6), (6, 28), (0.3, 1.6)),
    (draw_cyclist, (0, 3), (8, 28), (-1.3, -0.3)),
    (draw_litter_bin, (1, 4), (5, 20), (0.3, 1.5)),
)


@lru_cache(maxsize=512)
def draw_scene(seed: int, split: str, index: int, width: int, height: int) -> Scene:
    """Draw a street; return its picture (BGR, as files are read) and its class ids."""
    rng = np.random.default_rng([seed, SPLITS.index(split), index])
    canvas = Canvas(rng, width, height)
    kerbs = -rng.uniform(2.4, 5.0), rng.uniform(2.2, 4.4)
    walls = kerbs[0] - rng.uniform(1.7, 3.6), kerbs[1] + rng.uniform(1.7, 3.6)
    draw_sky(canvas)
    draw_ground(canvas, kerbs, walls)
    if rng.random() < 0.65:
        draw_shadows(canvas, walls)
    draw_skyline(canvas)
    for side, wall in zip((-1, 1), walls, strict=True):
        draw_frontage(canvas, side, wall)
    draw_traffic(canvas, kerbs)
    if rng.random() < 0.4:
        draw_bonnet(canvas)
    return canvas.develop()


def draw_frontage(canvas: Canvas, side: int, wall: float) -> None:
    """Draw houses and parks along one side of the street."""
    rng, far = canvas.rng, FAR * 0.8
    green = rng.uniform(0.1, 0.5)
    while far > NEAR:
        near = max(far - rng.uniform(7, 18) * (0.5 + far / FAR), NEAR)
        kind = draw_park if rng.random() < green else draw_building
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
