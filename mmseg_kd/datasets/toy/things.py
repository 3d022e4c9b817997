"""Draw the things in a street, one function each."""

from __future__ import annotations

import cv2
import numpy as np

from mmseg_kd.datasets.toy.canvas import FAR, IDS, NEAR, Canvas, Colour, Span, quad

WALLS = ((150, 84, 68), (176, 150, 118), (126, 124, 122), (198, 190, 174), (112, 82, 66),
         (164, 112, 88), (138, 146, 152), (208, 204, 200))  # fmt: skip
PAINTS = ((40, 42, 48), (188, 190, 194), (122, 126, 130), (150, 34, 32), (34, 62, 116),
          (226, 226, 222), (70, 92, 84), (172, 160, 132))  # fmt: skip
CLOTHES = ((40, 44, 62), (120, 42, 40), (70, 84, 112), (166, 158, 146), (52, 70, 54),
           (32, 32, 36), (194, 148, 60), (128, 118, 108))  # fmt: skip
LEAVES = ((74, 88, 46), (58, 76, 50), (98, 98, 58), (120, 100, 56), (84, 84, 74))
SIGNS = ((38, 74, 160), (196, 40, 40), (226, 186, 40), (226, 226, 220), (36, 108, 68))


def draw_sky(canvas: Canvas) -> None:
    """Draw a gradient with clouds."""
    rng = canvas.rng
    top = canvas.pick([(126, 158, 200), (168, 176, 186), (196, 200, 206), (110, 146, 198)])
    blend = np.linspace(0, 1, canvas.height)[:, None, None] ** 0.7
    sky = (top * (1 - blend) + (np.array(canvas.haze) + 24) * blend) * min(canvas.light + 0.1, 1.1)
    size = (canvas.width, canvas.height)
    clouds = cv2.resize(rng.random((5, 7), np.float32), size, interpolation=cv2.INTER_CUBIC)
    canvas.image[:] = np.clip(sky + 46 * np.clip(clouds[..., None] - 0.45, 0, 1), 0, 255)
    canvas.labels[:] = IDS['Sky']


def draw_ground(canvas: Canvas, kerbs: Span, walls: Span) -> None:
    """Draw grass, pavements and the road with its lane marks."""
    rng, grey = canvas.rng, canvas.rng.uniform(74, 112)

    def strip(left: float, right: float, colour: Colour, label: str | None = None) -> None:
        canvas.fill(quad((left, right), 0, (NEAR, FAR)), colour, label)

    strip(-60, 60, canvas.pick(LEAVES), 'Tree')
    strip(*walls, np.array([1.18, 1.14, 1.1]) * (grey + rng.uniform(4, 34)), 'Pavement')
    strip(*kerbs, (grey, grey, grey * 1.04), 'Road')
    for kerb in kerbs:
        strip(kerb - 0.09, kerb + 0.09, (grey * 1.4,) * 3)
    if rng.random() < 0.5:
        strip(kerbs[0] + 0.35, kerbs[0] + 0.47, (206, 196, 120))
    middle = sum(kerbs) / 2 + rng.uniform(-0.5, 0.5)
    for z in np.arange(rng.uniform(2, 5), 60, 6):
        canvas.fill(quad((middle - 0.08, middle + 0.08), 0, (z, z + 3)), (222, 220, 212))


def draw_skyline(canvas: Canvas) -> None:
    """Draw houses and trees at the far end of the street."""
    rng = canvas.rng
    for x in range(-70, 71, 9):
        left = x + rng.uniform(-4, 4)
        if rng.random() < 0.55:
            span = (left, left + rng.uniform(8, 18))
            canvas.fill(quad(span, (0, rng.uniform(4, 13)), FAR), canvas.pick(WALLS), 'Building')
        else:
            size = rng.uniform(4, 7)
            canvas.disc((left, size * 0.7, FAR), (size * 1.4, size), canvas.pick(LEAVES), 'Tree')
    canvas.fill(quad((-5, 5), (0, 1.6), FAR), (78, 78, 84), 'Unlabelled')


def draw_building(canvas: Canvas, side: int, wall: float, z: Span) -> None:
    """Draw a house along the pavement, with windows, shop and roof."""
    rng = canvas.rng
    floors = int(rng.integers(2, 5))
    height, colour = floors * 3.0, canvas.pick(WALLS)
    canvas.box((wall, wall + side * 12), (0, height), z, colour, 'Building')
    ridge = height + rng.uniform(0.5, 2.5)
    front_eaves, front_ridge = (wall, height, z[0]), (wall + side * 3, ridge, z[0])
    back = wall + side * 12
    gable = [front_eaves, front_ridge, (back, ridge, z[0]), (back, height, z[0])]
    canvas.fill(gable, colour * 0.9, 'Building')
    roof = [front_eaves, (wall, height, z[1]), (wall + side * 3, ridge, z[1]), front_ridge]
    canvas.fill(roof, canvas.pick([(96, 66, 58), (84, 86, 92)]), 'Building')
    glass = canvas.pick([(52, 60, 72), (84, 98, 114), (40, 40, 44)])
    pitch, half = rng.uniform(2.2, 3.4), rng.uniform(0.45, 0.85)
    windows = [
        quad(wall, (3 * floor + 0.9, 3 * floor + 2.3), (near, near + 2 * half))
        for floor in range(floors)
        for near in np.arange(z[0] + 0.6, min(z[1], 55) - 2 * half, pitch)
    ]
    if rng.random() < 0.35 and z[1] > z[0] + 4:
        shop = quad(wall, (0.3, 2.5), (z[0] + 0.5, z[1] - 0.5))
        windows = [window for window in windows if window[0][1] > 3] + [shop]
    frames = [canvas.project(window) for window in windows]
    if frames:
        cv2.fillPoly(canvas.image, frames, canvas.seen(glass, z[0]))
        cv2.polylines(canvas.image, frames, True, canvas.seen(colour * 1.2, z[0]), 1)


def draw_park(canvas: Canvas, side: int, wall: float, z: Span) -> None:
    """Draw trees behind a fence."""
    rng = canvas.rng
    for _ in range(7):
        depth, size = rng.uniform(*z), rng.uniform(1.4, 3.4)
        x = wall + side * rng.uniform(1.5, 9)
        canvas.disc((x, size * 0.9, depth), (size, size), canvas.pick(LEAVES), 'Tree')
    if rng.random() < 0.75:
        draw_fence(canvas, wall, z)


def draw_fence(canvas: Canvas, x: float, z: Span) -> None:
    """Draw a fence of palings, which can be seen through, or of boards."""
    rng, height = canvas.rng, canvas.rng.uniform(0.9, 1.7)
    colour = canvas.pick([(60, 62, 66), (120, 92, 70), (160, 160, 158), (66, 86, 70)])
    panel = quad(x, (0, height), z)
    cv2.fillPoly(canvas.labels, [canvas.project(panel)], IDS['Fence'])
    if rng.random() < 0.4:
        canvas.fill(panel, colour)
        colour = colour * 0.7
    for near in np.arange(z[0], z[1], rng.uniform(0.3, 0.6)):
        canvas.line([(x, 0, near), (x, height, near)], 0.05, colour, 'Fence')
    for y in (0.15, height):
        canvas.line([(x, y, z[0]), (x, y, z[1])], 0.06, colour, 'Fence')


def draw_tree(canvas: Canvas, x: float, z: float) -> None:
    """Draw a trunk and a crown of overlapping discs."""
    rng, size, leaf = canvas.rng, canvas.rng.uniform(0.9, 1.9), canvas.pick(LEAVES)
    canvas.fill(quad((x - 0.14, x + 0.14), (0, 3), z), canvas.pick([(84, 72, 60)]), 'Tree')
    for _ in range(14):
        dx, dy = rng.uniform(-1, 1, 2) * size
        shade = 1.0 + 0.22 * dy / size + rng.uniform(-0.14, 0.14)
        radius = size * rng.uniform(0.3, 0.62)
        canvas.disc((x + dx, 2.6 + size + dy, z), (radius, radius), leaf * shade, 'Tree')


def draw_lamp_post(canvas: Canvas, x: float, z: float) -> None:
    """Draw a tall post with an arm over the road."""
    height, colour = canvas.rng.uniform(4.5, 7.5), canvas.pick([(96, 98, 100), (58, 66, 62)])
    canvas.line([(x, 0, z), (x, height, z)], 0.13, colour, 'Pole')
    canvas.line([(x, height, z), (x - np.sign(x) * 1.2, height + 0.2, z)], 0.1, colour, 'Pole')


def draw_sign(canvas: Canvas, x: float, z: float) -> None:
    """Draw a road sign or a traffic light on its post."""
    rng, y = canvas.rng, canvas.rng.uniform(2.3, 3.2)
    canvas.line([(x, 0, z), (x, y, z)], 0.08, canvas.pick([(120, 122, 124)]), 'Pole')
    shape, size = rng.integers(4), rng.uniform(0.34, 0.52)
    if shape == 0:
        canvas.fill(quad((x - 0.2, x + 0.2), (y, y + 1.1), z), (36, 38, 38), 'SignSymbol')
        lit = [(220, 50, 40), (236, 170, 40), (60, 200, 110)][rng.integers(3)]
        canvas.disc((x, y + rng.uniform(0.2, 0.9), z), (0.12, 0.12), lit, 'SignSymbol')
    elif shape == 1:
        canvas.disc((x, y + size, z), (size, size), (206, 40, 40), 'SignSymbol')
        canvas.disc((x, y + size, z), (size * 0.66, size * 0.66), (230, 230, 226), 'SignSymbol')
    elif shape == 2:
        wide = size * rng.uniform(1.0, 2.4)
        canvas.fill(
            quad((x - wide, x + wide), (y, y + 2 * size), z), canvas.pick(SIGNS), 'SignSymbol'
        )
    else:
        corners = [(x - size, y, z), (x + size, y, z), (x, y + 1.7 * size, z)]
        canvas.fill(corners, canvas.pick(SIGNS), 'SignSymbol')


def draw_car(canvas: Canvas, x: float, z: float) -> None:
    """Draw a car or a van, seen from behind or from the front."""
    rng, paint = canvas.rng, canvas.pick(PAINTS)
    van = rng.random() < 0.2
    half, waist, roof = (1.0, 1.2, rng.uniform(2.0, 2.6)) if van else (0.86, 0.85, 1.42)
    length = 4.2 + van
    ends = (z, z + length)
    canvas.shade(quad((x - 1.1, x + 1.1), 0, (z - 0.4, z + length)), 0.45)
    for wheel in (x - half + 0.14, x + half - 0.14):
        canvas.fill(quad((wheel - 0.12, wheel + 0.12), (0, 0.5), z + 0.1), (24, 24, 26), 'Car')
    inner = x - np.sign(x) * half
    for axle in (z + 0.8, z + length - 0.9):
        canvas.fill(quad(inner, (0, 0.6), (axle - 0.3, axle + 0.3)), (24, 24, 26), 'Car')
    cabin = (x - half + 0.14, x + half - 0.14)
    canvas.box((x - half, x + half), (0.22, waist), ends, paint, 'Car')
    canvas.box(cabin, (waist, roof), (z + 0.5 * (not van), z + length - 1.1), paint * 0.94, 'Car')
    glass, face = canvas.pick([(56, 66, 78), (34, 38, 44)]), z + 0.5 * (not van)
    canvas.fill(quad((cabin[0] + 0.1, cabin[1] - 0.1), (waist + 0.06, roof - 0.12), face), glass)
    lamp = (206, 44, 36) if x > -0.5 else (238, 236, 214)
    for corner in (x - half + 0.16, x + half - 0.16):
        canvas.fill(quad((corner - 0.13, corner + 0.13), (waist - 0.32, waist - 0.1), z), lamp)
    canvas.fill(quad((x - 0.26, x + 0.26), (0.42, 0.55), z), (222, 218, 190))


def draw_person(
    canvas: Canvas, x: float, z: float, label: str = 'Pedestrian', ground: float = 0.0
) -> None:
    """Draw a standing or walking person."""
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
    """Draw a cyclist, seen from the side or from behind."""
    across = canvas.rng.uniform(0.2, 0.6)
    for wheel in (x - across, x + across):
        canvas.disc((wheel, 0.35, z), (0.2 + across / 4, 0.35), (34, 34, 36), 'Bicyclist')
    canvas.line([(x - across, 0.4, z), (x, 0.9, z)], 0.08, canvas.pick(SIGNS), 'Bicyclist')
    canvas.line([(x + across, 0.4, z), (x, 0.9, z)], 0.08, canvas.pick(SIGNS), 'Bicyclist')
    draw_person(canvas, x, z, 'Bicyclist', ground=0.25)


def draw_litter_bin(canvas: Canvas, x: float, z: float) -> None:
    """Draw a litter bin, which has no class."""
    colour = canvas.pick([(52, 60, 56), (104, 100, 96), (120, 64, 44)])
    height = canvas.rng.uniform(0.8, 1.3)
    canvas.box((x - 0.35, x + 0.35), (0, height), (z, z + 0.6), colour, 'Unlabelled')


def draw_bonnet(canvas: Canvas) -> None:
    """Draw the bonnet of the camera's car."""
    rng, paint = canvas.rng, canvas.pick(PAINTS)
    middle = (round(canvas.width * rng.uniform(0.42, 0.58)), canvas.height)
    axes = round(canvas.width * 0.56), round(canvas.height * rng.uniform(0.05, 0.12))
    cv2.ellipse(canvas.image, middle, axes, 0, 0, 360, canvas.seen(paint, 1), -1)
    cv2.ellipse(canvas.labels, middle, axes, 0, 0, 360, IDS['Unlabelled'], -1)
    gloss = (round(axes[0] * 0.8), round(axes[1] * 0.7))
    cv2.ellipse(canvas.image, middle, gloss, 0, 0, 360, canvas.seen(paint * 1.12, 1), -1)
