"""Any file given as a picture is read or refused: it runs no program and does not fill the memory."""

import os
import random
import struct
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPO
from PIL import Image, ImageDraw
from test_read_image import drawing, encoded

from data_tocsv import MAX_PIXELS, TOO_LARGE, InputError, open_image, read_csv, read_image, to_csv
from predict import predict
from train_network import load_network

pytestmark = pytest.mark.filterwarnings("ignore")  # Pillow warns about odd files


def answer(path):
    """Return the pixels, or the reason why there are none."""
    try:
        return read_image(path)
    except InputError as error:
        return str(error)


def mutate(data, other, rng):
    """Return `data` cut, flipped, spliced with another file, filled with zeros, or with that file's head."""
    at, flipped = rng.randrange(len(data)), bytearray(data)
    end, head = rng.randrange(at, len(data)) + 1, min(at, 40)
    for _ in range(rng.choice((1, 1, 4, 30))):
        flipped[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    zeros = data[:at] + bytes(end - at) + data[end:]
    ways = [data[:at], flipped, data[:at] + other[at:], zeros, other[:head] + data[head:], data[:at] + data[end:]]
    return rng.choice(ways)


def test_a_broken_picture_is_read_or_refused_with_a_reason(tmp_path):
    rng, files, reasons = random.Random(1), list(encoded(drawing(3)).values()), []
    for _ in range(600):
        (tmp_path / "x.jpg").write_bytes(mutate(rng.choice(files), rng.choice(files), rng))
        result = answer(tmp_path / "x.jpg")
        if isinstance(result, str):
            assert 0 < len(result) < 200, result
            reasons.append(result)
        else:
            assert result.shape == (784,) and result.dtype == np.uint8
            assert open_image(tmp_path / "x.jpg").mode in ("L", "RGB")
    assert 100 < len(reasons) < 500


@pytest.mark.parametrize("read, name", [(read_csv, "x.csv"), (load_network, "x.npz")])
def test_a_broken_file_is_read_or_refused_with_one_line(tmp_path, network, read, name):
    rng, refused, path = random.Random(2), 0, tmp_path / name
    rows = np.random.default_rng(0).integers(0, 10, (30, 785), np.uint8)
    good = network.read_bytes() if name == "x.npz" else b"".join(to_csv(row[0], row[1:]) for row in rows)
    for data in [b"", b"text", b"\x80\x04K\x01.", *(mutate(good, good[::-1], rng) for _ in range(150))]:
        path.write_bytes(data)
        try:
            read(path)
        except InputError as error:
            refused += 1
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)
    assert refused > 50


@pytest.mark.skipif(os.name == "nt", reason="the program is a shell script")
def test_no_picture_runs_a_program(tmp_path, monkeypatch):
    """Pillow would give PostScript to a program named gs."""
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch '{tmp_path}/ran'\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    for name in ("5.jpg", "5.eps", "5"):
        path = tmp_path / name
        path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 28 28\n%%EndComments\nshowpage\n%%EOF\n")
        assert answer(path) == "not a picture in a supported format: save it as JPG or PNG"
    assert not (tmp_path / "ran").exists()


def page(width, height):
    """Return a page (L) with a 7 on it."""
    paper = Image.new("L", (width, height), 255)
    points = [(0.3 * width, 0.2 * height), (0.7 * width, 0.2 * height), (0.45 * width, 0.8 * height)]
    ImageDraw.Draw(paper).line(points, fill=0, width=min(width, height) // 15)
    return paper


def test_pictures_are_read_up_to_the_limit_of_pixels_that_are_decoded(tmp_path, network):
    width = 6000
    page(width, MAX_PIXELS // width).convert("1").save(tmp_path / "within.png")
    page(width, MAX_PIXELS // width + 1).convert("1").save(tmp_path / "above.png")
    page(width, MAX_PIXELS // width + 1).save(tmp_path / "above.jpg", progressive=True)  # Pillow keeps all of it
    page(100, 100).save(tmp_path / "bomb.bmp")
    with open(tmp_path / "bomb.bmp", "r+b") as file:
        file.seek(18)
        file.write(struct.pack("<2I", 100_000, 100_000))
    assert isinstance(answer(tmp_path / "within.png"), np.ndarray)
    for name in "above.png", "above.jpg", "bomb.bmp":
        assert answer(tmp_path / name) == TOO_LARGE, name
    page(16320, 12240).save(tmp_path / "phone.jpg", quality=50)  # 200 megapixels
    assert predict(tmp_path / "phone.jpg", network) == 7 and Image.MAX_IMAGE_PIXELS < 90_000_000


PEAK = """
import os, re, sys
os.cpu_count = lambda: 8
from data_tocsv import InputError, read_images, run
def main():
    print(sum(not isinstance(pixels, InputError) for _, pixels in read_images(sys.argv[1:])))
    print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
run(main)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/status"), reason="measured by Linux")
def test_eight_threads_that_read_the_largest_pictures_take_less_than_1_gb(tmp_path):
    page(6000, 6000).convert("LA").save(tmp_path / "x.png", compress_level=1)
    page(6000, 6000).convert("RGB").save(tmp_path / "x.jpg", progressive=True, subsampling=0)
    paths = 4 * [tmp_path / "x.png"] + [tmp_path / "x.jpg"]
    result = subprocess.run([sys.executable, "-c", PEAK, *paths], cwd=REPO, capture_output=True, text=True, check=True)
    read, kilobytes = map(int, result.stdout.split())
    assert read == 5 and kilobytes < 1_000_000
