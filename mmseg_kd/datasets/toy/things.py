"""What stands in a street, each drawn by a function of its own."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from mmseg_kd.datasets.toy.canvas import (
    BICYCLIST,
    BUILDING,
    CAR,
    FAR,
    FENCE,
    NEAR,
    PAVEMENT,
    PEDESTRIAN,
    POLE,
    ROAD,
    SIGN,
    SKY,
    TREE,
    UNLABELLED,
    Canvas,
    Colour,
)

WALLS = ((150, 84, 68), (176, 150, 118), (126, 124, 122), (198, 190, 174), (112, 82, 66),
         (164, 112, 88), (138, 146, 152), (208, 204, 200))  # fmt: skip
PAINTS = ((40, 42, 48), (188, 190, 194), (122, 126, 130), (150, 34, 32), (34, 62, 116),
          (226, 226, 222), (70, 92, 84), (172, 160, 132))  # fmt: skip
CLOTHES = ((40, 44, 62), (120, 42, 40), (70, 84, 112), (166, 158, 146), (52, 70, 54),
           (32, 32, 36), (194, 148, 60), (128, 118, 108))  # fmt: skip
LEAVES = ((74, 88, 46), (58, 76, 50), (98, 98, 58), (120, 100, 56), (84, 84, 74))
SIGNS = ((38, 74, 160), (196, 40, 40), (226, 186, 40), (226, 226, 220), (36, 108, 68))


def draw_sky(canvas: Canvas) -> None:
    """A gradient with clouds."""
    rng = canvas.rng
    top = canvas.pick([(126, 158, 200), (168, 176, 186), (196, 200, 206), (110, 146, 198)])
    blend = np.linspace(0, 1, canvas.height)[:, None, None] ** 0.7
    sky = (top * (1 - blend) + (np.array(canvas.haze) + 24) * blend) * min(canvas.light + 0.1, 1.1)
    clouds = cv2.resize(rng.random((5, 7), np.float32), (canvas.width, canvas.height),
                        interpolation=cv2.INTER_CUBIC)[..., None]  # fmt: skip
    canvas.image[:] = np.clip(sky + 46 * np.clip(clouds - 0.45, 0, 1), 0, 255)
    canvas.labels[:] = SKY


def draw_ground(canvas: Canvas, kerbs: Sequence[float], walls: Sequence[float]) -> None:
    """Grass, pavements, the road with its lane marks."""
    rng, grey = canvas.rng, canvas.rng.uniform(74, 112)

    def strip(left: float, right: float, colour: Colour, label: int | None = None) -> None:
        canvas.fill([(left, 0, NEAR), (right, 0, NEAR), (right, 0, FAR), (left, 0, FAR)],
                    colour, label)  # fmt: skip

    strip(-60, 60, canvas.pick(LEAVES), TREE)
    strip(*walls, np.array([1.18, 1.14, 1.1]) * (grey + rng.uniform(4, 34)), PAVEMENT)
    strip(*kerbs, (grey, grey, grey * 1.04), ROAD)
    for kerb in kerbs:
        strip(kerb - 0.09, kerb + 0.09, (grey * 1.4,) * 3)
    if rng.random() < 0.5:
        strip(kerbs[0] + 0.35, kerbs[0] + 0.47, (206, 196, 120))
    middle = sum(kerbs) / 2 + rng.uniform(-0.5, 0.5)
    for z in np.arange(rng.uniform(2, 5), 60, 6):
        dash = [(middle - 0.08, 0, z), (middle + 0.08, 0, z),
                (middle + 0.08, 0, z + 3), (middle - 0.08, 0, z + 3)]  # fmt: skip
        canvas.fill(dash, (222, 220, 212))


def draw_skyline(canvas: Canvas) -> None:
    """What closes the street far away."""
    rng = canvas.rng
    for x in range(-70, 71, 9):
        left = x + rng.uniform(-4, 4)
        if rng.random() < 0.55:
            span = (left, left + rng.uniform(8, 18))
            canvas.upright(span, (0, rng.uniform(4, 13)), FAR, canvas.pick(WALLS), BUILDING)
        else:
            size = rng.uniform(4, 7)
            canvas.disc((left, size * 0.7, FAR), (size * 1.4, size), canvas.pick(LEAVES), TREE)
    canvas.upright((-5, 5), (0, 1.6), FAR, (78, 78, 84), UNLABELLED)


def draw_building(canvas: Canvas, side: int, wall: float, z: Sequence[float]) -> None:
    """A house front along the pavement, with windows, door and roof."""
    rng = canvas.rng
    floors = int(rng.integers(2, 5))
    height, colour = floors * 3.0, canvas.pick(WALLS)
    canvas.box((wall, wall + side * 12), (0, height), z, colour, BUILDING)
    ridge = height + rng.uniform(0.5, 2.5)
    gable = [(wall, height, z[0]), (wall + side * 3, ridge, z[0]), (wall + side * 12, ridge, z[0]),
             (wall + side * 12, height, z[0])]  # fmt: skip
    canvas.fill(gable, colour * 0.9, BUILDING)
    roof = [(wall, height, z[0]), (wall, height, z[1]), (wall + side * 3, ridge, z[1]),
            (wall + side * 3, ridge, z[0])]  # fmt: skip
    canvas.fill(roof, canvas.pick([(96, 66, 58), (84, 86, 92)]), BUILDING)
    glass = canvas.pick([(52, 60, 72), (84, 98, 114), (40, 40, 44)])
    pitch, half = rng.uniform(2.2, 3.4), rng.uniform(0.45, 0.85)
    quads = [
        [(wall, 3 * floor + 0.9, near), (wall, 3 * floor + 2.3, near),
         (wall, 3 * floor + 2.3, near + 2 * half), (wall, 3 * floor + 0.9, near + 2 * half)]
        for floor in range(floors)
        for near in np.arange(z[0] + 0.6, min(z[1], 55) - 2 * half, pitch)
    ]  # fmt: skip
    if rng.random() < 0.35 and z[1] > z[0] + 4:
        shop = [(wall, 0.3, z[0] + 0.5), (wall, 2.5, z[0] + 0.5), (wall, 2.5, z[1] - 0.5),
                (wall, 0.3, z[1] - 0.5)]  # fmt: skip
        quads = [quad for quad in quads if quad[0][1] > 3] + [shop]
    if quads:
        frame = [canvas.project(quad) for quad in quads]
        cv2.fillPoly(canvas.image, frame, canvas.seen(glass, z[0]))
        cv2.polylines(canvas.image, frame, True, canvas.seen(colour * 1.2, z[0]), 1)


def draw_park(canvas: Canvas, side: int, wall: float, z: Sequence[float]) -> None:
    """Trees behind a fence."""
    rng = canvas.rng
    for _ in range(7):
        depth, size = rng.uniform(*z), rng.uniform(1.4, 3.4)
        x = wall + side * rng.uniform(1.5, 9)
        canvas.disc((x, size * 0.9, depth), (size, size), canvas.pick(LEAVES), TREE)
    if rng.random() < 0.75:
        draw_fence(canvas, wall, z)


def draw_fence(canvas: Canvas, x: float, z: Sequence[float]) -> None:
    """Palings that show what is behind them, or boards that do not."""
    rng, height = canvas.rng, canvas.rng.uniform(0.9, 1.7)
    colour = canvas.pick([(60, 62, 66), (120, 92, 70), (160, 160, 158), (66, 86, 70)])
    panel = [(x, 0, z[0]), (x, height, z[0]), (x, height, z[1]), (x, 0, z[1])]
    cv2.fillPoly(canvas.labels, [canvas.project(panel)], FENCE)
    if rng.random() < 0.4:
        canvas.fill(panel, colour)
        colour = colour * 0.7
    for near in np.arange(z[0], z[1], rng.uniform(0.3, 0.6)):
        canvas.line([(x, 0, near), (x, height, near)], 0.05, colour, FENCE)
    for y in (0.15, height):
        canvas.line([(x, y, z[0]), (x, y, z[1])], 0.06, colour, FENCE)


def draw_tree(canvas: Canvas, x: float, z: float) -> None:
    """A trunk and a crown of overlapping clumps."""
    rng, size, leaf = canvas.rng, canvas.rng.uniform(0.9, 1.9), canvas.pick(LEAVES)
    canvas.upright((x - 0.14, x + 0.14), (0, 3), z, canvas.pick([(84, 72, 60)]), TREE)
    for _ in range(14):
        dx, dy = rng.uniform(-1, 1, 2) * size
        shade = 1.0 + 0.22 * dy / size + rng.uniform(-0.14, 0.14)
        radius = size * rng.uniform(0.3, 0.62)
        canvas.disc((x + dx, 2.6 + size + dy, z), (radius, radius), leaf * shade, TREE)


def draw_lamp_post(canvas: Canvas, x: float, z: float) -> None:
    """A tall post with an arm over the road."""
    height, colour = canvas.rng.uniform(4.5, 7.5), canvas.pick([(96, 98, 100), (58, 66, 62)])
    canvas.line([(x, 0, z), (x, height, z)], 0.13, colour, POLE)
    canvas.line([(x, height, z), (x - np.sign(x) * 1.2, height + 0.2, z)], 0.1, colour, POLE)


def draw_sign(canvas: Canvas, x: float, z: float) -> None:
    """A road sign or a traffic light on its post."""
    rng, y = canvas.rng, canvas.rng.uniform(2.3, 3.2)
    canvas.line([(x, 0, z), (x, y, z)], 0.08, canvas.pick([(120, 122, 124)]), POLE)
    shape, size = rng.integers(4), rng.uniform(0.34, 0.52)
    if shape == 0:
        canvas.upright((x - 0.2, x + 0.2), (y, y + 1.1), z, (36, 38, 38), SIGN)
        lit = [(220, 50, 40), (236, 170, 40), (60, 200, 110)][rng.integers(3)]
        canvas.disc((x, y + rng.uniform(0.2, 0.9), z), (0.12, 0.12), lit, SIGN)
    elif shape == 1:
        canvas.disc((x, y + size, z), (size, size), (206, 40, 40), SIGN)
        canvas.disc((x, y + size, z), (size * 0.66, size * 0.66), (230, 230, 226), SIGN)
    elif shape == 2:
        wide = size * rng.uniform(1.0, 2.4)
        canvas.upright((x - wide, x + wide), (y, y + 2 * size), z, canvas.pick(SIGNS), SIGN)
    else:
        corners = [(x - size, y, z), (x + size, y, z), (x, y + 1.7 * size, z)]
        canvas.fill(corners, canvas.pick(SIGNS), SIGN)


def draw_car(canvas: Canvas, x: float, z: float) -> None:
    """A car or a van, seen from behind or from the front."""
    rng, paint = canvas.rng, canvas.pick(PAINTS)
    van = rng.random() < 0.2
    half, waist, roof = (1.0, 1.2, rng.uniform(2.0, 2.6)) if van else (0.86, 0.85, 1.42)
    length = 4.2 + van
    ends = (z, z + length)
    canvas.shade([(x - 1.1, 0, z - 0.4), (x + 1.1, 0, z - 0.4), (x + 1.1, 0, z + length),
                  (x - 1.1, 0, z + length)], 0.45)  # fmt: skip
    for wheel in (x - half + 0.14, x + half - 0.14):
        canvas.upright((wheel - 0.12, wheel + 0.12), (0, 0.5), z + 0.1, (24, 24, 26), CAR)
    inner = x - np.sign(x) * half
    for axle in (z + 0.8, z + length - 0.9):
        tyre = [(inner, 0, axle - 0.3), (inner, 0.6, axle - 0.3), (inner, 0.6, axle + 0.3),
                (inner, 0, axle + 0.3)]  # fmt: skip
        canvas.fill(tyre, (24, 24, 26), CAR)
    cabin = (x - half + 0.14, x + half - 0.14)
    canvas.box((x - half, x + half), (0.22, waist), ends, paint, CAR)
    canvas.box(cabin, (waist, roof), (z + 0.5 * (not van), z + length - 1.1), paint * 0.94, CAR)
    glass, face = canvas.pick([(56, 66, 78), (34, 38, 44)]), z + 0.5 * (not van)
    canvas.upright((cabin[0] + 0.1, cabin[1] - 0.1), (waist + 0.06, roof - 0.12), face, glass)
    lamp = (206, 44, 36) if x > -0.5 else (238, 236, 214)
    for corner in (x - half + 0.16, x + half - 0.16):
        canvas.upright((corner - 0.13, corner + 0.13), (waist - 0.32, waist - 0.1), z, lamp)
    canvas.upright((x - 0.26, x + 0.26), (0.42, 0.55), z, (222, 218, 190))


def draw_person(
    canvas: Canvas, x: float, z: float, label: int = PEDESTRIAN, ground: float = 0.0
) -> None:
    """Somebody standing or walking."""
    rng, height = canvas.rng, canvas.rng.uniform(1.5, 1.85)
    coat, stride = canvas.pick(CLOTHES), rng.uniform(0.05, 0.3)
    hip, neck = ground + 0.48 * height, ground + 0.84 * height
    legs = canvas.pick(CLOTHES) * 0.8
    for foot in (x - stride, x + stride):
        canvas.line([(foot, ground, z), (x, hip, z)], 0.15, legs, label)
    canvas.disc((x, (hip + neck) / 2, z), (0.23, (neck - hip) * 0.6), coat, label)
    skin = canvas.pick([(206, 164, 138), (120, 86, 66), (70, 52, 44)])
    canvas.disc((x, neck + 0.1, z), (0.11, 0.14), skin, label)


def draw_cyclist(canvas: Canvas, x: float, z: float) -> None:
    """A rider on two wheels, seen from the side or from behind."""
    across = canvas.rng.uniform(0.2, 0.6)
    for wheel in (x - across, x + across):
        canvas.disc((wheel, 0.35, z), (0.2 + across / 4, 0.35), (34, 34, 36), BICYCLIST)
    canvas.line([(x - across, 0.4, z), (x, 0.9, z)], 0.08, canvas.pick(SIGNS), BICYCLIST)
    canvas.line([(x + across, 0.4, z), (x, 0.9, z)], 0.08, canvas.pick(SIGNS), BICYCLIST)
    draw_person(canvas, x, z, BICYCLIST, ground=0.25)


def draw_litter_bin(canvas: Canvas, x: float, z: float) -> None:
    """Street furniture without a class."""
    colour = canvas.pick([(52, 60, 56), (104, 100, 96), (120, 64, 44)])
    canvas.box((x - 0.35, x + 0.35), (0, canvas.rng.uniform(0.8, 1.3)), (z, z + 0.6), colour,
               UNLABELLED)  # fmt: skip


def draw_bonnet(canvas: Canvas) -> None:
    """The camera's own car."""
    rng, paint = canvas.rng, canvas.pick(PAINTS)
    middle = (round(canvas.width * rng.uniform(0.42, 0.58)), canvas.height)
    axes = round(canvas.width * 0.56), round(canvas.height * rng.uniform(0.05, 0.12))
    cv2.ellipse(canvas.image, middle, axes, 0, 0, 360, canvas.seen(paint, 1), -1)
    cv2.ellipse(canvas.labels, middle, axes, 0, 0, 360, UNLABELLED, -1)
    gloss = (round(axes[0] * 0.8), round(axes[1] * 0.7))
    cv2.ellipse(canvas.image, middle, gloss, 0, 0, 360, canvas.seen(paint * 1.12, 1), -1)
