"""Draw strip.png, the README's picture: photographed digits, what a network saw of each, and what it read.

python .github/draw_strip.py        with network.npz in the current folder, trained on datasets/sample
"""

import sys
import tempfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont, ImageOps

REPO = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(REPO), str(REPO / "tests")]
from conftest import drawn  # noqa: E402
from scenes import save_scene  # noqa: E402

from data_tocsv import SIZE, open_image  # noqa: E402
from predict import classify_pictures  # noqa: E402
from train_network import load_network  # noqa: E402

SCENES = ["sheet turned 4 to 12", "sticky note", "whiteboard", "sheet in hand", "spiral notebook"]
SCENES += ["blackboard", "sheet on checked cloth", "phone", "sheet in colour", "pen beside"]
SEED = 9
PHOTO, SEEN, GAP = (126, 168), 84, 10  # pixels


def main():
    width, height = PHOTO[0] + SEEN + 3 * GAP, PHOTO[1] + 2 * GAP
    strip = Image.new("RGB", (5 * width - GAP, 2 * height - GAP), "white")
    draw, font = ImageDraw.Draw(strip), ImageFont.load_default(48)
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/{digit}.jpg" for digit in range(10)]
        for digit, (path, scene) in enumerate(zip(paths, SCENES)):
            save_scene(path, scene, SEED, Image.open(drawn(digit)))
        for digit, (path, pixels, p) in enumerate(classify_pictures(paths, load_network("network.npz"))):
            x, y = digit % 5 * width + GAP // 2, digit // 5 * height + GAP // 2
            strip.paste(ImageOps.contain(open_image(path, 2 * PHOTO[1]).convert("RGB"), PHOTO), (x, y))
            seen = Image.fromarray(pixels.reshape(SIZE, SIZE)).resize((SEEN, SEEN), Image.Resampling.NEAREST)
            strip.paste(seen, (x + PHOTO[0] + GAP, y))
            colour = "black" if p.argmax() == digit else "red"
            middle = x + PHOTO[0] + GAP + SEEN // 2, y + SEEN + (PHOTO[1] - SEEN) // 2
            draw.text(middle, str(p.argmax()), colour, font, anchor="mm")
    strip.quantize(256).save(Path(__file__).with_name("strip.png"), optimize=True)


if __name__ == "__main__":
    main()
