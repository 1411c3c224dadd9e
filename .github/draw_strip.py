"""Draw strip.png, the README's picture: digits that nobody wrote, as if photographed, and what a network reads in them.

python .github/draw_strip.py        with network.npz in the folder in which it is run
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

REPO = Path(__file__).resolve().parents[1]
PENS = [(40, 60, 150), (30, 30, 30), (110, 105, 100), (150, 40, 40)]  # ink, felt, pencil, red: RGB
PAPERS = [(235, 230, 215), (225, 228, 232), (205, 190, 160), (240, 240, 235)]


def photograph(drawn, rng):
    """Return a drawn digit, light on dark, as a phone would see it on paper: RGB PIL.Image, 300 x 300."""
    ink = drawn.resize((150, 150), Image.Resampling.BICUBIC).rotate(rng.uniform(-8, 8))
    page = Image.new("L", (300, 300))
    page.paste(ink, tuple(int(v) for v in rng.integers(40, 110, 2)))
    ink = np.asarray(page.filter(ImageFilter.GaussianBlur(1)), float)[..., np.newaxis] / 255
    y, x = np.mgrid[0:1:300j, 0:1:300j][..., np.newaxis]
    light = 1 - rng.uniform(0, 0.5) * x - rng.uniform(0, 0.4) * y
    pen, paper = (np.array(colours[rng.integers(len(colours))]) for colours in (PENS, PAPERS))
    photo = (paper + ink * (pen - paper)) * light + rng.normal(0, 4, (300, 300, 1))
    return Image.fromarray(photo.clip(0, 255).astype(np.uint8))


def main():
    rng = np.random.default_rng(11)
    with tempfile.TemporaryDirectory() as name:
        for digit in range(10):
            drawn = sorted((REPO / "datasets/sample/testing" / str(digit)).iterdir())[int(rng.integers(60))]
            with Image.open(drawn) as picture:
                photograph(picture, rng).save(Path(name) / f"{digit}.jpg", quality=85)
        sheet = Path(name) / "sheet.png"
        subprocess.run([sys.executable, REPO / "predict.py", "-q", name, "--sheet", sheet], check=True)
        with Image.open(sheet) as picture:
            half, height = picture.width // 2, picture.height - 26
            strip = Image.new("RGB", (half + 8, 2 * height), picture.getpixel((0, 0)))
            for row in (0, 1):  # five digits each
                strip.paste(picture.crop((row * (half - 4), 26, (row + 1) * half, 26 + height)), (0, row * height + 4))
        strip.save(Path(__file__).with_name("strip.png"))


if __name__ == "__main__":
    main()
