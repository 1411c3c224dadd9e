"""Any picture of a digit is read as the digit that it is: drawn digits in many forms.

No network judges: the pixels that are read must be like those of the plain form, black on white and large. That is a
correlation, of both a little blurred, of at least 0.85; that of different digits is 0.9 at the very most.
"""

import contextlib
import functools
import io

import numpy as np
import pytest
from conftest import drawn
from PIL import Image, ImageDraw, ImageFilter, ImageOps

from data_tocsv import InputError, read_image

PICTURES = [(digit, index) for digit in range(10) for index in range(2)]


def large(digit, index):
    """Return a drawn digit as black ink on white paper, 224 x 224, mode L."""
    picture = Image.open(drawn(digit, index)).resize((224, 224), Image.Resampling.BICUBIC)
    return ImageOps.invert(picture)


@functools.cache
def plain(digit, index):
    """Return the pixels that are read in it."""
    return read_image(large(digit, index))


def tight(digit, index, cut=48):
    """Return a drawn digit as it is, light on dark and small, without the margins."""
    picture = Image.open(drawn(digit, index))
    return picture.crop(picture.point(lambda value: 255 * (value > cut)).getbbox())


def black_and_white(picture):
    return picture.point(lambda value: 255 * (value > 127))


@pytest.fixture
def read(tmp_path):
    """Save a picture (PIL.Image, or bytes) and return its 784 pixels."""

    def read(picture, suffix=".png", **options):
        path = tmp_path / f"x{suffix}"
        if isinstance(picture, bytes):
            path.write_bytes(picture)
        else:
            picture.save(path, **options)
        return read_image(path)

    return read


def likeness(pixels, others):
    """Return the correlation of two images, a little blurred: (784,) uint8 each."""
    images = (Image.fromarray(image.reshape(28, 28)).filter(ImageFilter.GaussianBlur(1)) for image in (pixels, others))
    return np.corrcoef(*(np.asarray(image, float).ravel() for image in images))[0, 1]


def check(read, change, form=large, part=0.0, least=0.85, **options):
    """Every picture must be read after the change as in its plain form, but for a part of them."""
    alike = dict.fromkeys(PICTURES, 0)
    for which in PICTURES:
        with contextlib.suppress(InputError):
            alike[which] = likeness(read(change(form(*which)), **options), plain(*which))
    wrong = {which: value for which, value in alike.items() if value < least}
    assert len(wrong) <= part * len(PICTURES), wrong


def test_different_digits_are_not_alike():
    pairs = [(one, other) for one in PICTURES for other in PICTURES if one[0] < other[0]]
    assert np.mean([likeness(plain(*one), plain(*other)) > 0.85 for one, other in pairs]) < 0.01


def test_a_drawing_is_read_like_mnist_s_form_of_it(read):
    check(read, lambda picture: picture, form=lambda *which: Image.open(drawn(*which)))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_turned_by_the_camera(read, orientation):
    back = [None, None, 0, 3, 1, 5, 2, 6, 4][orientation]  # the transpose that the camera's turn undoes
    exif = Image.Exif()
    exif[0x0112] = orientation
    change = (lambda picture: picture) if back is None else (lambda picture: picture.transpose(Image.Transpose(back)))
    check(read, change, suffix=".jpg", exif=exif)


def test_inverted(read):
    check(read, ImageOps.invert)


def on_nothing(picture, ink):
    """Return the ink of a picture in one colour, on a transparent ground."""
    out = Image.new("RGBA", picture.size, ink + (0,))
    out.putalpha(ImageOps.invert(picture))
    return out


@pytest.mark.parametrize("ink", [(0, 0, 0), (255, 255, 255), (30, 60, 200)])
def test_on_a_transparent_ground(read, ink):
    check(read, lambda picture: on_nothing(picture, ink))


@pytest.mark.parametrize("resample", [Image.Resampling.NEAREST, Image.Resampling.BICUBIC])
def test_enlarged_8_times(read, resample):
    check(read, lambda picture: picture.resize((1792, 1792), resample))


def test_on_a_canvas_4_times_as_large(read):
    def change(picture):
        canvas = Image.new("L", (896, 896), 255)
        canvas.paste(picture, (100, 500))
        return canvas

    check(read, change)


def test_in_yellow_ink(read):
    """Yellow lacks nothing but blue: as a grey it is nearly as light as the paper."""

    def change(picture):
        full = Image.new("L", picture.size, 255)
        return Image.merge("RGB", [full, full, picture])

    check(read, change)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".gif", ".webp", ".tiff"])
def test_in_every_usual_format(read, suffix):
    check(read, lambda picture: picture, suffix=suffix)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16"])
def test_in_every_mode(read, mode):
    def change(picture):
        if mode == "I;16":
            return Image.fromarray(np.asarray(picture).astype(np.uint16) * 200)
        return picture.convert(mode)

    check(read, change, suffix=".tiff" if mode in ("CMYK", "I;16") else ".png")


def photographed(picture, rng, ink=60, paper=200, noise=4):
    """Return a picture as a phone would take it: light that falls off, grain, and JPG."""
    y, x = np.mgrid[0:1:224j, 0:1:224j]
    light = 1 - 0.5 * x - 0.2 * y
    values = (ink + (paper - ink) * (np.asarray(picture) / 255)) * light + rng.normal(0, noise, (224, 224))
    file = io.BytesIO()
    Image.fromarray(values.clip(0, 255).astype(np.uint8)).convert("RGB").save(file, "JPEG", quality=75)
    return file.getvalue()


@pytest.mark.parametrize("ink", [20, 150], ids=["pen", "pencil"])
def test_photographed_in_uneven_light(read, ink):
    rng = np.random.default_rng(0)
    check(read, lambda picture: photographed(picture, rng, ink), part=0.05, suffix=".jpg")


def test_on_squared_paper_with_a_neighbour_s_stroke_at_the_edge(read):
    def change(picture):
        paper = Image.new("L", (400, 400), 255)
        pen = ImageDraw.Draw(paper)
        for at in range(10, 400, 50):
            pen.line([(at, 0), (at, 400)], fill=110, width=2)
            pen.line([(0, at), (400, at)], fill=110, width=2)
        pen.line([(395, 150), (400, 260)], fill=0, width=12)
        paper.paste(
            Image.fromarray(np.minimum(np.asarray(paper.crop((88, 88, 312, 312))), np.asarray(picture))), (88, 88)
        )
        return paper.filter(ImageFilter.GaussianBlur(1))

    check(read, change, part=0.05)


@pytest.mark.parametrize("polarity", [ImageOps.invert, ImageOps.grayscale])
@pytest.mark.parametrize("shift", [(-4, 3), (5, 0), (0, -5)])
def test_28_x_28_off_centre_in_either_polarity(read, shift, polarity):
    def change(picture):
        small = Image.new("L", (28, 28), 255)
        small.paste(picture.resize((20, 20), Image.Resampling.BOX), (4 + shift[0], 4 + shift[1]))
        return polarity(small)

    check(read, change, part=0.05)  # at 20 x 20 some detail is lost


def larger(picture):
    return picture.resize([8 * side for side in picture.size], Image.Resampling.NEAREST)


@pytest.mark.parametrize("polarity", [ImageOps.invert, ImageOps.grayscale])
@pytest.mark.parametrize("change", [ImageOps.grayscale, black_and_white, larger])
def test_cut_tight(read, change, polarity):
    check(read, lambda picture: polarity(change(picture)), form=tight, part=0.05)


@pytest.mark.parametrize("mode", ["L", "1"])
def test_28_x_28_in_black_and_white(read, mode):
    check(
        read,
        lambda picture: black_and_white(picture).convert(mode),
        part=0.05,
        form=lambda *which: Image.open(drawn(*which)),
    )


def test_fitted_into_32_x_32_in_black_and_white(read):
    def change(picture):
        square = ImageOps.pad(picture, (32, 32), Image.Resampling.BICUBIC, color=0)
        return black_and_white(square)

    check(read, change, form=tight)


def test_8_x_8(read):
    check(read, lambda picture: ImageOps.pad(picture, (8, 8), Image.Resampling.BOX), form=tight, part=0.1, least=0.8)


def test_in_a_thick_pen(read):
    check(read, lambda picture: picture.filter(ImageFilter.MinFilter(13)), least=0.9)


@pytest.mark.parametrize("size", [64, 300])
@pytest.mark.parametrize("gap", [0, 0.05])
@pytest.mark.parametrize("tilt", [0, 2])
def test_in_a_printed_box(read, size, gap, tilt):
    def change(picture):
        form, side = Image.new("L", (size, size), 255), int(0.7 * size)
        form.paste(picture.resize((side, side)), ((size - side) // 2, (size - side) // 2))
        edge = int(gap * size)
        box = [edge, edge, size - 1 - edge, size - 1 - edge]
        ImageDraw.Draw(form).rectangle(box, outline=40, width=size // 50)
        return form.rotate(tilt, Image.Resampling.BICUBIC, fillcolor=255)

    check(read, change, part=0.05)


@pytest.mark.parametrize("sides", [(30, 0, 0, 0), (0, 20, 30, 0), (25, 25, 25, 25)])
def test_with_the_black_border_of_a_scan(read, sides):
    def change(picture):
        scan = ImageOps.expand(picture, sides, 10)
        return scan.rotate(1, Image.Resampling.BICUBIC, fillcolor=10) if all(sides) else scan

    check(read, change)


@pytest.mark.parametrize("size", [52, 112, 400])
def test_a_faint_stroke_is_part_of_the_digit(read, size):
    """An 8 with a thin stroke half as dark as the rest is read as with a dark one, and not as without it."""

    def eight(faint):
        picture = Image.new("L", (400, 400), 250)
        pen = ImageDraw.Draw(picture)
        pen.line([(250, 60), (180, 60), (160, 110), (235, 240), (220, 320), (160, 325), (140, 260)], 10, 26, "curve")
        if faint:
            pen.line([(140, 262), (165, 195), (184, 172)], faint, 14, "curve")
            pen.line([(206, 152), (228, 120), (250, 62)], faint, 14, "curve")
        return picture.filter(ImageFilter.GaussianBlur(5)).resize((size, size), Image.Resampling.BOX)

    faint, dark, without = read(eight(140)), read(eight(20)), read(eight(None))
    assert likeness(faint, dark) > 0.98 > 0.96 > likeness(faint, without)


def test_a_0_is_not_taken_for_a_frame_nor_a_1_for_a_line(read):
    ring, bar = Image.new("L", (100, 120), 255), Image.new("L", (30, 120), 255)
    ImageDraw.Draw(ring).rounded_rectangle([10, 5, 90, 115], 30, outline=0, width=8)
    ImageDraw.Draw(bar).rectangle([12, 0, 18, 120], fill=0)
    pixels = read(ring).reshape(28, 28)
    assert pixels.any(axis=1).sum() == 20 and pixels.any(axis=0).sum() >= 13 and not pixels[11:17, 11:17].any()
    assert read(bar).reshape(28, 28).any(axis=1).sum() == 20


# Several digits.


def side_by_side(pictures, gap):
    """Return drawn digits beside one another, black on white."""
    width, height = sum(p.width + gap for p in pictures) - gap, max(p.height for p in pictures)
    row, at = Image.new("L", (width, height)), 0
    for picture in pictures:
        row.paste(picture, (at, (height - picture.height) // 2))
        at += picture.width + gap
    return ImageOps.invert(ImageOps.expand(row, 20, 0))


@pytest.mark.parametrize("digits", [(4, 2), (1, 0), (3, 5, 8), (2, 0, 2, 6)])
@pytest.mark.parametrize("size", [1, 8])
def test_several_digits_are_not_read_as_one(read, digits, size):
    pictures = [tight(digit, 0) for digit in digits]
    pictures = [
        picture.resize([size * side for side in picture.size], Image.Resampling.BICUBIC) for picture in pictures
    ]
    with pytest.raises(InputError, match="^more than one digit: cut the picture up$"):
        read(side_by_side(pictures, 6 * size))


@pytest.mark.parametrize(
    "lines",
    [
        [[(35, 20), (30, 65), (72, 65)], [(80, 15), (76, 105)]],  # an open 4, its stem apart
        [[(40, 40), (40, 60), (75, 65), (70, 95), (30, 100)], [(45, 10), (90, 10)]],  # a 5 and its hat
        [[(58, 15), (35, 30), (30, 60), (35, 90), (58, 105)], [(66, 15), (88, 30), (92, 60), (88, 90), (66, 105)]],
    ],
)
def test_strokes_that_stand_apart_make_one_digit(read, lines):
    picture = Image.new("L", (120, 120), 255)
    for line in lines:
        ImageDraw.Draw(picture).line(line, fill=0, width=8)
    one = read(picture)
    first = Image.new("L", (120, 120), 255)
    ImageDraw.Draw(first).line(lines[0], fill=0, width=8)
    assert likeness(one, read(first)) < 0.85  # the second stroke is in it


def test_no_drawing_is_taken_for_several_digits():
    for digit in range(10):
        for index in range(0, 60, 3):
            with Image.open(drawn(digit, index)) as picture:
                read_image(ImageOps.invert(picture))


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
