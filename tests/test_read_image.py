"""Any picture of a digit is read as the digit that it is: drawn digits in many forms, and pictures without one."""

import io

import numpy as np
import pytest
from conftest import drawn, run
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from data_tocsv import InputError, read_image
from train_network import classify, load_network


def large(digit, index):
    """Return a drawn digit as black ink on white paper, 224 x 224, mode L."""
    picture = Image.open(drawn(digit, index)).resize((224, 224), Image.Resampling.BICUBIC)
    return ImageOps.invert(picture)


@pytest.fixture(scope="module")
def look(network, tmp_path_factory):
    """Save a picture (PIL.Image, or bytes) and return what the network makes of it: (10,) probabilities."""
    params, folder = load_network(network), tmp_path_factory.mktemp("pictures")

    def look(picture, suffix=".png", **options):
        path = folder / f"x{suffix}"
        if isinstance(picture, bytes):
            path.write_bytes(picture)
        else:
            picture.save(path, **options)
        return classify(params, read_image(path)[np.newaxis])[:, 0]

    return look


@pytest.fixture(scope="module")
def read(look):
    """Save a picture and return the digit that is read in it."""
    return lambda *args, **options: int(look(*args, **options).argmax())


@pytest.fixture(scope="module")
def plain(look):
    """The pictures that are read right and without a doubt in their large form, by (digit, index)."""
    pictures = [(digit, index) for digit in range(10) for index in range(4)]
    sure = [which for which in pictures if look(large(*which))[which[0]] > 0.95]
    assert len(sure) > 0.8 * len(pictures)
    return sure


def check(plain, read, change, part=0.0, **options):
    """Every picture must be read after the change as it was before, but for a part of them."""
    wrong = [which for which in plain if read(change(large(*which)), **options) != which[0]]
    assert len(wrong) <= part * len(plain), wrong


def test_a_drawing_is_read_as_the_same_digit_as_mnist_s_form_of_it(plain, read):
    wrong = [which for which in plain if read(Image.open(drawn(*which))) != which[0]]
    assert not wrong


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_by_the_camera(plain, read, orientation):
    back = [None, None, 0, 3, 1, 5, 2, 6, 4][orientation]  # the transpose that the camera's turn undoes
    exif = Image.Exif()
    exif[0x0112] = orientation
    change = (lambda picture: picture) if back is None else (lambda picture: picture.transpose(Image.Transpose(back)))
    check(plain, read, change, suffix=".jpg", exif=exif)


def test_inverted(plain, read):
    check(plain, read, ImageOps.invert)


def on_nothing(picture, ink):
    """Return the ink of a picture in one colour, on a transparent ground."""
    out = Image.new("RGBA", picture.size, ink + (0,))
    out.putalpha(ImageOps.invert(picture))
    return out


@pytest.mark.parametrize("ink", [(0, 0, 0), (255, 255, 255), (30, 60, 200)])
def test_on_a_transparent_ground(plain, read, ink):
    check(plain, read, lambda picture: on_nothing(picture, ink))


@pytest.mark.parametrize("resample", [Image.Resampling.NEAREST, Image.Resampling.BICUBIC])
def test_enlarged_8_times(plain, read, resample):
    check(plain, read, lambda picture: picture.resize((1792, 1792), resample))


def test_on_a_canvas_4_times_as_large(plain, read):
    def change(picture):
        canvas = Image.new("L", (896, 896), 255)
        canvas.paste(picture, (100, 500))
        return canvas

    check(plain, read, change)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".gif", ".webp", ".tiff"])
def test_in_every_usual_format(plain, read, suffix):
    check(plain, read, lambda picture: picture, suffix=suffix)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_in_every_mode(plain, read, mode):
    def change(picture):
        if mode == "I;16":
            return Image.fromarray(np.asarray(picture).astype(np.uint16) * 200)
        return picture.convert(mode)

    check(plain, read, change, suffix=".tiff" if mode in ("CMYK", "I;16") else ".png")


def photographed(picture, rng, ink=60, paper=200, noise=4):
    """Return a picture as a phone would take it: light that falls off, grain, and JPG."""
    y, x = np.mgrid[0:1:224j, 0:1:224j]
    light = 1 - 0.5 * x - 0.2 * y
    values = (ink + (paper - ink) * (np.asarray(picture) / 255)) * light + rng.normal(0, noise, (224, 224))
    file = io.BytesIO()
    Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert("RGB").save(file, "JPEG", quality=75)
    return file.getvalue()


@pytest.mark.parametrize("ink", [20, 150], ids=["pen", "pencil"])
def test_photographed_in_uneven_light(plain, read, ink):
    rng = np.random.default_rng(0)
    check(plain, read, lambda picture: photographed(picture, rng, ink), part=0.05, suffix=".jpg")


def test_on_squared_paper_with_a_neighbour_s_stroke_at_the_edge(plain, read):
    def change(picture):
        paper = Image.new("L", (400, 400), 255)
        pen = ImageDraw.Draw(paper)
        for at in range(10, 400, 50):
            pen.line([(at, 0), (at, 400)], fill=190, width=2)
            pen.line([(0, at), (400, at)], fill=190, width=2)
        pen.line([(395, 150), (400, 260)], fill=0, width=12)
        paper.paste(
            Image.fromarray(np.minimum(np.asarray(paper.crop((88, 88, 312, 312))), np.asarray(picture))), (88, 88)
        )
        return paper.filter(ImageFilter.GaussianBlur(1))

    check(plain, read, change, part=0.05)


@pytest.mark.parametrize("shift", [(-4, 3), (5, 0), (0, -5)])
def test_28_x_28_off_centre_in_either_polarity(plain, read, shift):
    def change(picture):
        small = Image.new("L", (28, 28), 255)
        small.paste(picture.resize((20, 20), Image.Resampling.BOX), (4 + shift[0], 4 + shift[1]))
        return small

    wrong = [which for which in plain if read(change(large(*which))) != which[0]]
    wrong += [which for which in plain if read(ImageOps.invert(change(large(*which)))) != which[0]]
    assert len(wrong) <= 2  # at 20 x 20 some detail is lost


# Pictures without a digit.


def noise(kind, size):
    rng = np.random.default_rng(size)
    if kind == "uniform":
        return rng.integers(0, 256, (size, size), dtype=np.uint8)
    return rng.normal(128, 30, (size, size)).clip(0, 255).astype(np.uint8)


NOTHING = {
    "blank page": Image.new("L", (300, 400), 255),
    "black page": Image.new("RGB", (300, 400), 0),
    "grey page": Image.new("L", (28, 28), 128),
    "transparent page": Image.new("RGBA", (100, 100), (0, 0, 0, 0)),
    **{f"{kind} noise, {n}": Image.fromarray(noise(kind, n)) for kind in ("uniform", "normal") for n in (28, 100, 600)},
}


@pytest.mark.parametrize("what", NOTHING)
def test_where_there_is_no_digit_none_is_guessed(tmp_path, what):
    NOTHING[what].save(tmp_path / "x.png")
    with pytest.raises(InputError, match="^no digit found$"):
        read_image(tmp_path / "x.png")


def test_a_page_without_a_digit_is_named_and_the_others_are_read(tmp_path, network):
    Image.new("L", (300, 400), 255).save(tmp_path / "blank.png")
    large(7, 2).save(tmp_path / "7.png")
    result = run("predict.py", "--network", network, "blank.png", "7.png", cwd=tmp_path, check=1)
    assert result.stdout.split("\t")[:2] == ["7.png", "7"]
    assert result.stderr == "predict.py: error: blank.png: no digit found\n"
    run("predict.py", "--network", network, "blank.png", cwd=tmp_path, check=1)


# MNIST.


def test_all_of_mnist_goes_through_unchanged_as_jpg_and_as_png(mnist, tmp_path):
    paths = sorted(mnist.glob("*/*/*.jpg"))
    assert len(paths) == 70_000
    for path in paths:
        with Image.open(path) as image:
            pixels = np.asarray(image.convert("L"))
        assert (read_image(path) == pixels.ravel()).all(), path
    for path in paths[::50]:
        with Image.open(path) as image:
            image.save(tmp_path / "x.png")
        assert (read_image(tmp_path / "x.png") == read_image(path)).all(), path
