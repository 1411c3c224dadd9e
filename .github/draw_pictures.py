"""Draw the README's two pictures: strip.png, ten photographed digits, and steps.png, how two of them are read.

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
COLUMNS = ["photo", "cut out", "darkness", "ink", "stroke width", "28 x 28", "answer"]
PHOTO, SEEN, SIDE, GAP = (126, 168), 84, 168, 10  # pixels


def draw_strip(folder, params):
    """Return ten photographs, what the network saw of each, and what it read."""
    width, height = PHOTO[0] + SEEN + 3 * GAP, PHOTO[1] + 2 * GAP
    strip = Image.new("RGB", (5 * width - GAP, 2 * height - GAP), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(48)
    paths = [f"{folder}/{digit}.jpg" for digit in range(10)]
    for digit, (path, scene) in enumerate(zip(paths, STRIP)):
        save_scene(path, scene, 9, Image.open(drawn(digit)))
    for digit, (path, pixels, p) in enumerate(classify_pictures(paths, params)):
        x, y = digit % 5 * width + GAP // 2, digit // 5 * height + GAP // 2
        strip.paste(photo(path), (x, y))
        seen = Image.fromarray(pixels.reshape(SIZE, SIZE)).resize((SEEN, SEEN), Image.Resampling.NEAREST)
        strip.paste(seen, (x + PHOTO[0] + GAP, y))
        colour = "black" if p.argmax() == digit else "red"
        middle = x + PHOTO[0] + GAP + SEEN // 2, y + SEEN + (PHOTO[1] - SEEN) // 2
        draw.text(middle, str(p.argmax()), colour, font, anchor="mm")
    return strip


def draw_steps(folder, params):
    """Return two photographs, what the functions of data_tocsv.py make of them, and what the network reads."""
    lefts = [0, *(PHOTO[0] + 2 * GAP + column * (SIDE + 2 * GAP) for column in range(6))]
    middles = [PHOTO[0] // 2, *(left + SIDE // 2 for left in lefts[1:])]
    steps = Image.new("RGB", (lefts[-1] + SIDE, len(STEPS) * (SIDE + 2 * GAP) + 24), "white")
    draw = ImageDraw.Draw(steps)
    for row, (scene, digit, seed) in enumerate(STEPS):
        path, results, y = f"{folder}/{scene}.jpg", {}, row * (SIDE + 2 * GAP)
        save_scene(path, scene, seed, Image.open(drawn(digit)))
        with contextlib.ExitStack() as stack:
            for name in RECORDED:
                stack.enter_context(patch.object(data_tocsv, name, recorded(getattr(data_tocsv, name), results)))
            ((_, pixels, p),) = classify_pictures([path], params)
        cut_out, darkness, (_, ink), stroke = (results[name] for name in RECORDED)
        steps.paste(photo(path), (0, y))
        cut_out = ImageOps.contain(cut_out, (SIDE, SIDE))
        steps.paste(cut_out, (middles[1] - cut_out.width // 2, y + (SIDE - cut_out.height) // 2))
        for left, values in zip(lefts[2:], (darkness.clip(0, 1), ink, stroke, pixels.reshape(SIZE, SIZE) / 255)):
            method = Image.Resampling.NEAREST if len(values) == SIZE else Image.Resampling.BICUBIC
            steps.paste(ImageOps.pad(Image.fromarray(np.uint8(255 * values)), (SIDE, SIDE), method), (left, y))
        draw.text((middles[-1], y + SIDE // 2), str(p.argmax()), "black", ImageFont.load_default(96), anchor="mm")
    for middle, text in zip(middles, COLUMNS):
        draw.text((middle, steps.height - 10), text, "black", ImageFont.load_default(24), anchor="ms")
    return steps


def photo(path):
    """Return a picture as given, in colour, as large as the others here."""
    return ImageOps.contain(open_image(path, 2 * PHOTO[1]).convert("RGB"), PHOTO)


def recorded(function, results):
    """Return the function, changed so that `results` holds what it returned last."""

    def call(*args):
        results[function.__name__] = function(*args)
        return results[function.__name__]

    return call


def main():
    params = load_network("network.npz")
    for draw in draw_strip, draw_steps:
        with tempfile.TemporaryDirectory() as folder:
            name = draw.__name__.removeprefix("draw_") + ".png"
            draw(folder, params).quantize(256).save(Path(__file__).with_name(name), optimize=True)


if __name__ == "__main__":
    main()
