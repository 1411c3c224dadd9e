"""The drawn sample is what its script draws, in MNIST's form; the command draws more, and deletes no pictures."""

import draw_sample
import numpy as np
import pytest
from conftest import SAMPLE, error_line, run
from PIL import Image

from data_tocsv import read_image

SCRIPT = "datasets/draw_sample.py"
FILES = sorted(SAMPLE.rglob("*.jpg"))


def files_in(folder):
    """Return the bytes of every file in a folder, by its path there."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_sample_is_small_and_in_mnists_form():
    assert len(FILES) == 6000 and sum(path.stat().st_size for path in FILES) < 5e6
    for path in FILES[::37]:
        with Image.open(path) as picture:
            np.testing.assert_array_equal(read_image(path), np.asarray(picture).ravel())


def test_the_sample_is_what_the_script_draws(tmp_path):
    for path in FILES[::97]:
        again = tmp_path / "again.jpg"
        draw_sample.draw(path.parts[-3], int(path.parts[-2]), int(path.stem) - 1).save(again, quality=80)
        with Image.open(path) as old, Image.open(again) as new:  # other versions of Pillow write other bytes
            assert np.abs(np.asarray(old, int) - np.asarray(new, int)).mean() < 3


@pytest.mark.parametrize("digit", draw_sample.HANDS)
def test_hands_that_are_blended_have_the_same_points(digit):
    for family in draw_sample.parse_hands(digit):
        for hand in family:
            assert [corner.tolist() for _, corner in hand] == [corner.tolist() for _, corner in family[0]]


def test_a_folder_is_drawn_and_none_replaced(tmp_path):
    result = run(SCRIPT, "--count", "1", "-o", "more", cwd=tmp_path, check=0)
    assert result.stderr.endswith('610 pictures; next: python data_tocsv.py "more"\n')
    drawn = files_in(tmp_path)
    assert len(set(drawn.values())) == 610  # all different
    line = error_line(run(SCRIPT, "--count", "2", "-o", "more", cwd=tmp_path))
    assert line.endswith("more exists already: delete it first, or choose another folder")
    assert files_in(tmp_path) == drawn
