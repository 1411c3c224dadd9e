"""Draw the README's pictures: what is read (strip.png), how (steps.png), and what layer 1 has learned (weights.png).

The scenes in them are rendered by tests/scenes.py, not photographed.

python .github/draw_pictures.py        with network.npz in the current folder
"""

import contextlib
import sys
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
from PIL import Image, ImageDraw, ImageFont, ImageOps

REPO = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPO), str(REPO / "tests")]
from conftest import drawn  # noqa: E402
from scenes import save_scene  # noqa: E402

import data_tocsv  # noqa: E402
from data_tocsv import SIZE, open_image  # noqa: E402
from predict import classify_pictures  # noqa: E402
from train_network import load_network  # noqa: E402

STRIP = ["sheet turned 4 to 12", "sticky note", "whiteboard", "sheet in hand", "spiral notebook"]
STRIP += ["blackboard", "sheet on checked cloth", "phone", "sheet in colour", "pen beside"]
STEPS = [("sheet turned 12 to 40", 2, 13), ("box", 8, 7)]  # scene, digit, seed
RECORDED = ["keep_only", "subtract_background", "separate", "normalize_stroke_width"]
COLUMNS = ["picture", "cut out", "darkness", "ink", "stroke width", "28 x 28", "answer"]
SCENE, SEEN, SIDE, GAP, LABELS = (126, 168), 84, 168, 10, 40  # pixels
UNITS, UNIT = (4, 10), 112  # rows and columns of units, pixels a side


def draw_strip(folder, params):
    """Return ten rendered scenes, what the network saw of each, and what it read."""
    width, height = SCENE[0] + SEEN + 3 * GAP, SCENE[1] + 2 * GAP
    strip = Image.new("RGB", (5 * width - GAP, 2 * height - GAP), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(48)
    paths = [f"{folder}/{digit}.jpg" for digit in range(10)]
    for digit, (path, scene) in enumerate(zip(paths, STRIP)):
        save_scene(path, scene, 9, Image.open(drawn(digit)))
    for digit, (path, pixels, p) in enumerate(classify_pictures(paths, params)):
        x, y = digit % 5 * width + GAP // 2, digit // 5 * height + GAP // 2
        strip.paste(thumbnail(path), (x, y))
        seen = Image.fromarray(pixels.reshape(SIZE, SIZE)).resize((SEEN, SEEN), Image.Resampling.NEAREST)
        strip.paste(seen, (x + SCENE[0] + GAP, y))
        colour = "black" if p.argmax() == digit else "red"
        middle = x + SCENE[0] + GAP + SEEN // 2, y + SEEN + (SCENE[1] - SEEN) // 2
        draw.text(middle, str(p.argmax()), colour, font, anchor="mm")
    return strip


def draw_steps(folder, params):
    """Return two rendered scenes, what the functions of data_tocsv.py make of them, and what the network reads."""
    lefts = [0, *(SCENE[0] + 2 * GAP + column * (SIDE + 2 * GAP) for column in range(6))]
    middles = [SCENE[0] // 2, *(left + SIDE // 2 for left in lefts[1:])]
    steps = Image.new("RGB", (lefts[-1] + SIDE, LABELS + len(STEPS) * (SIDE + 2 * GAP) - 2 * GAP), "white")
    draw = ImageDraw.Draw(steps)
    for middle, text in zip(middles, COLUMNS):
        draw.text((middle, LABELS - 14), text, "black", ImageFont.load_default(24), anchor="ms")
    for row, (scene, digit, seed) in enumerate(STEPS):
        path, results, y = f"{folder}/{scene}.jpg", {}, LABELS + row * (SIDE + 2 * GAP)
        save_scene(path, scene, seed, Image.open(drawn(digit)))
        with contextlib.ExitStack() as stack:
            for name in RECORDED:
                stack.enter_context(patch.object(data_tocsv, name, recorded(getattr(data_tocsv, name), results)))
            ((_, pixels, p),) = classify_pictures([path], params)
        cut_out, darkness, (_, ink), stroke = (results[name] for name in RECORDED)
        steps.paste(thumbnail(path), (0, y))
        cut_out = ImageOps.contain(cut_out, (SIDE, SIDE))
        steps.paste(cut_out, (middles[1] - cut_out.width // 2, y + (SIDE - cut_out.height) // 2))
        for left, values in zip(lefts[2:], (darkness.clip(0, 1), ink, stroke, pixels.reshape(SIZE, SIZE) / 255)):
            method = Image.Resampling.NEAREST if len(values) == SIZE else Image.Resampling.BICUBIC
            steps.paste(ImageOps.pad(Image.fromarray(np.uint8(255 * values)), (SIDE, SIDE), method), (left, y))
        draw.text((middles[-1], y + SIDE // 2), str(p.argmax()), "black", ImageFont.load_default(96), anchor="mm")
    return steps


def draw_weights(W1):
    """Return the units of layer 1 with the largest weights: red where they look for ink, blue where for paper.

    W1: (256, 784). Units that look at the top of an image come first; in a row, they are sorted from left to right.
    """
    units = W1[np.argsort(-np.linalg.norm(W1, axis=1))[: np.prod(UNITS)]]
    share = units**2 / (units**2).sum(axis=1, keepdims=True)
    y, x = np.indices((SIZE, SIZE)).reshape(2, -1) @ share.T  # where they look
    picture = Image.new("RGB", [count * (UNIT + GAP) - GAP for count in reversed(UNITS)], "white")
    for row, in_row in enumerate(np.argsort(y).reshape(UNITS)):
        for column, unit in enumerate(in_row[np.argsort(x[in_row])]):
            weights = units[unit].reshape(SIZE, SIZE)
            grey = 127.5 + 127.5 * (1.3 * weights / np.abs(weights).max()).clip(-1, 1)  # 1.3: strokes in full colour
            tile = ImageOps.colorize(Image.fromarray(np.uint8(grey)), "#0f3fb0", "#c0000f", mid="#f4f4f4")
            tile = tile.resize((UNIT, UNIT), Image.Resampling.NEAREST)
            picture.paste(tile, (column * (UNIT + GAP), row * (UNIT + GAP)))
    return picture


def thumbnail(path):
    """Return a picture as given, in colour, as large as the others here."""
    return ImageOps.contain(open_image(path, 2 * SCENE[1]).convert("RGB"), SCENE)


def recorded(function, results):
    """Return the function, changed so that `results` holds what it returned last."""

    def call(*args):
        results[function.__name__] = function(*args)
        return results[function.__name__]

    return call


def main():
    params = load_network("network.npz")
    with tempfile.TemporaryDirectory() as folder:
        pictures = {"strip": draw_strip(folder, params), "steps": draw_steps(folder, params)}
    for name, picture in (pictures | {"weights": draw_weights(params["w1"])}).items():
        picture.quantize(256).save(Path(__file__).with_name(f"{name}.png"), optimize=True)


if __name__ == "__main__":
    main()
