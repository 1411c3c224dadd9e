"""Pictures without a digit: blank pages, noise and odd shapes are refused, with the reason."""

import contextlib
import shutil

import numpy as np
import pytest
from conftest import drawn, run
from PIL import Image, ImageFilter

from data_tocsv import InputError, read_image, try_image
from train_network import init_params, save_network


def noise(kind, size):
    rng = np.random.default_rng(size)
    if kind == "black and white":
        return np.uint8(255 * rng.integers(0, 2, (size, size)))
    if kind == "uniform":
        return rng.integers(0, 256, (size, size), dtype=np.uint8)
    return rng.normal(128, 30, (size, size)).clip(0, 255).astype(np.uint8)


NOTHING = {
    "blank page": Image.new("L", (300, 400), 255),
    "black page": Image.new("RGB", (300, 400), 0),
    "grey page": Image.new("L", (28, 28), 128),
    "transparent page": Image.new("RGBA", (100, 100), (0, 0, 0, 0)),
    **{f"{kind} noise, {n}": Image.fromarray(noise(kind, n)) for kind in ("uniform", "normal") for n in (28, 100, 600)},
    **{f"{kind}, {n}": Image.fromarray(noise(kind, n)) for kind in ("normal", "black and white") for n in (16, 20, 64)},
    "noise above all range": Image.fromarray(np.float32(np.where(noise("uniform", 50) > 128, np.inf, np.nan))),
    "one pixel": Image.new("L", (1, 1), 7),
    "a row of one grey": Image.new("L", (5000, 1), 7),
}


@pytest.mark.parametrize("what", NOTHING)
def test_where_there_is_no_digit_none_is_guessed(tmp_path, what):
    path = tmp_path / ("x.tiff" if NOTHING[what].mode == "F" else "x.png")
    NOTHING[what].save(path)
    with pytest.raises(InputError, match="^no digit found$"):
        read_image(path)


def test_nearly_all_blurred_noise_is_refused():
    """What is as dark here as it is light there has no digit in it."""
    results = []
    for size in (20, 40, 100):
        rng = np.random.default_rng(size)
        for _ in range(20):
            values = Image.fromarray(rng.integers(0, 256, (size, size)).astype(np.uint8))
            results.append(try_image(values.filter(ImageFilter.GaussianBlur(1.5)))[1])
    assert sum(not isinstance(result, str) for result in results) <= 6


def test_most_noise_of_8_x_8_is_refused():
    rng = np.random.default_rng(0)
    pictures = [Image.fromarray(rng.integers(0, 256, (8, 8), dtype=np.uint8)) for _ in range(200)]
    found = 0
    for picture in pictures:
        with contextlib.suppress(InputError):
            found += read_image(picture) is not None
    assert found < 80


@pytest.mark.parametrize("size", [(1, 5000), (5000, 1), (2, 2), (3, 200)])
@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16"])
def test_a_picture_of_any_shape_is_read_or_refused(size, mode):
    values = np.random.default_rng(0).integers(0, 256, size[::-1])
    if mode == "I;16":
        picture = Image.fromarray(values.astype(np.uint16) * 200)
    else:
        picture = Image.fromarray(values.astype(np.uint8)).convert(mode)
    with contextlib.suppress(InputError):
        assert read_image(picture).shape == (784,)


def test_a_page_without_a_digit_is_named_and_the_others_are_read(tmp_path):
    network = tmp_path / "network.npz"
    with open(network, "wb") as file:
        save_network(init_params(np.random.default_rng(0)), file)
    Image.new("L", (300, 400), 255).save(tmp_path / "blank.png")
    shutil.copy(drawn(7), tmp_path / "7.jpg")
    result = run("predict.py", "--network", network, "blank.png", "7.jpg", cwd=tmp_path, check=1)
    assert result.stdout.startswith("7.jpg\t")
    assert result.stderr == "predict.py: error: blank.png: no digit found\n"
    run("predict.py", "--network", network, "blank.png", cwd=tmp_path, check=1)
