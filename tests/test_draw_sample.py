"""The drawn sample is what its script draws, in MNIST's form and within its bounds; the command draws more."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from conftest import REPO, SAMPLE, error_line, run
from draw_sample import COUNTS, HANDS, draw, parse_hands
from PIL import Image

from data_tocsv import read_image

SCRIPT = "datasets/draw_sample.py"
FILES = sorted(SAMPLE.rglob("*.jpg"))


def files_in(folder):
    """Return the bytes of every file in a folder, by its path there."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_sample_is_within_its_bounds():
    assert len(FILES) == 10 * sum(COUNTS.values()) <= 6000
    assert sum(path.stat().st_size for path in FILES) < 5e6
    assert [path.name for path in sorted(SAMPLE.glob("*/*"))] == 2 * list("0123456789")


def test_every_picture_goes_through_read_image_unchanged():
    for path in FILES[::37]:
        with Image.open(path) as image:
            assert (image.size, image.mode) == ((28, 28), "L")
            np.testing.assert_array_equal(read_image(path), np.asarray(image).ravel())


def test_the_sample_is_what_the_script_draws(tmp_path):
    for path in FILES[::97]:
        again = tmp_path / "again.jpg"
        again.write_bytes(draw((path.parts[-3], int(path.parts[-2]), int(path.stem) - 1)))
        with Image.open(path) as old, Image.open(again) as new:  # another Pillow may write other bytes
            assert np.abs(np.asarray(old, int) - np.asarray(new, int)).mean() < 3


@pytest.mark.parametrize("digit", HANDS)
def test_the_hands_of_a_family_make_the_same_movement(digit):
    for family in parse_hands(digit):
        first = family[0]
        for hand in family:
            assert len(hand) == len(first)
            for (points, corner), (_, first_corner) in zip(hand, first):
                assert points.shape == (len(first_corner), 2)
                np.testing.assert_array_equal(corner, first_corner)


def test_a_folder_is_drawn_and_drawn_again_the_same_on_any_number_of_cores(tmp_path):
    result = run(SCRIPT, "--count", "3", "-o", "more", cwd=tmp_path, check=0)
    assert "630 pictures" in result.stderr and result.stderr.endswith("data_tocsv.py more\n")
    drawn = files_in(tmp_path / "more")
    assert len(drawn) == 630
    for name, data in list(drawn.items())[::61]:
        part, digit, file = name.split("/")
        assert data == draw((part, int(digit), int(file[:4]) - 1))

    env = {**os.environ, "PYTHON_CPU_COUNT": "1"}  # Python 3.13 and later heed it
    assert run(SCRIPT, "--count", "2", "-o", "more", "-q", cwd=tmp_path, check=0, env=env).stderr == ""
    fewer = files_in(tmp_path / "more")
    assert len(fewer) == 620 and fewer.items() <= drawn.items()
    assert os.listdir(tmp_path) == ["more"]

    run("data_tocsv.py", "more", "-o", ".", "-q", cwd=tmp_path, check=0)
    assert len((tmp_path / "train_images.csv").read_text().splitlines()) == 20


@pytest.mark.parametrize("name", ["training/7/0001.jpg", "notes.txt"])
def test_a_folder_that_holds_anything_else_is_left_alone(tmp_path, name):
    own = tmp_path / "own" / name
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    for target in ("own", own):
        line = error_line(run(SCRIPT, "--count", "1", "-o", target, cwd=tmp_path))
        assert line.endswith("not a folder drawn by this script: name another one")
    assert files_in(tmp_path) == {f"own/{name}": b"mine"}


def test_what_cannot_be_drawn_is_told_in_a_line(tmp_path):
    assert "no such folder" in error_line(run(SCRIPT, "-o", "missing/more", cwd=tmp_path))
    assert "--count" in error_line(run(SCRIPT, "--count", "0", cwd=tmp_path))


@pytest.mark.skipif(os.name == "nt", reason="Ctrl-C is sent to a process group in another way there")
def test_ctrl_c_leaves_nothing(tmp_path):
    command = [sys.executable, REPO / SCRIPT, "--count", "5000", "-o", "more"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, start_new_session=True)
    while not list(tmp_path.rglob("*.jpg")):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of its processes
    assert process.communicate(timeout=30) == (None, b"")
    assert process.returncode == 130
    assert os.listdir(tmp_path) == []
