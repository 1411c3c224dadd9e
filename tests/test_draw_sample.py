"""The drawn sample: it is what its script draws, in MNIST's form and within its bounds."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
from conftest import REPO, SAMPLE
from draw_sample import COUNTS, HANDS, ink, normalise, parse_hands, write
from PIL import Image

from data_tocsv import read_image

FILES = sorted(SAMPLE.rglob("*.jpg"))


def test_the_sample_is_within_its_bounds():
    assert len(FILES) == 10 * sum(COUNTS.values()) <= 6000
    assert sum(path.stat().st_size for path in FILES) < 5e6
    assert [path.name for path in sorted(SAMPLE.glob("*/*"))] == 2 * list("0123456789")


def test_every_picture_goes_through_read_image_unchanged():
    for path in FILES[::37]:
        with Image.open(path) as image:
            assert (image.size, image.mode) == ((28, 28), "L")
            np.testing.assert_array_equal(read_image(path), np.asarray(image).ravel())


def test_the_sample_is_what_the_script_draws():
    for path in FILES[::97]:
        part, digit, index = path.parts[-3], int(path.parts[-2]), int(path.stem) - 1
        rng = np.random.default_rng([list(COUNTS).index(part), digit, index])
        drawn = normalise(ink(write(rng, parse_hands(HANDS[digit]))))
        with Image.open(path) as image:
            assert np.abs(np.asarray(image).astype(int) - drawn).mean() < 6  # what JPG makes of it


def test_drawing_again_gives_the_same_files_and_leaves_nothing_else(tmp_path):
    few = "import draw_sample as d, sys, pathlib; d.COUNTS = {'training': 2, 'testing': 1}"
    few += "; d.SAMPLE = pathlib.Path('sample').resolve(); d.run(lambda: d.main(['-q']))"
    env = {**os.environ, "PYTHONPATH": str(REPO / "datasets")}
    drawn = []
    for _ in range(2):
        subprocess.run([sys.executable, "-c", few], cwd=tmp_path, env=env, check=True)
        paths = sorted(path for path in tmp_path.rglob("*") if path.is_file())
        drawn.append([(path.relative_to(tmp_path), path.read_bytes()) for path in paths])
    assert len(drawn[0]) == 30 and drawn[0] == drawn[1]
    assert os.listdir(tmp_path) == ["sample"]
    assert Path(tmp_path, "sample/training/7/0002.jpg").exists()
