"""Turn folders of digit pictures into train_images.csv and test_images.csv.

Any picture of a digit becomes the 784 pixels that MNIST would have made of it: 28 rows of 28 values, 0 for the
background to 255 for full ink. A CSV row is `label,p0,...,p783`, without a header.
"""

import argparse
import contextlib
import errno
import functools
import glob
import io
import math
import os
import re
import shutil
import signal
import sys
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from itertools import islice, product

try:
    import numpy as np
    from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageOps, UnidentifiedImageError
except ModuleNotFoundError as error:
    first = "python3 -m venv .venv && . .venv/bin/activate && pip install -r requirements.txt"
    print(f"{os.path.basename(sys.argv[0])}: error: {error}: begin as README.md says: {first}", file=sys.stderr)
    sys.exit(2)

SIZE = 28  # pixels a side
PIXELS = SIZE * SIZE
DIGITS = [str(digit) for digit in range(10)]
TRAIN_CSV = "datasets/train_images.csv"
TEST_CSV = "datasets/test_images.csv"

FORMATS = ["JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM", "WEBP", "AVIF"]  # for others (EPS) Pillow may run programs
MAX_PIXELS = 36_000_000  # the most that is decoded: an A4 page at 600 dpi
TOO_LARGE = "too large: scale it down"
NO_DIGIT = "no digit found"
SEVERAL = "more than one digit: crop the picture to one"
LARGE_FILE = 50_000  # bytes: larger pictures are decoded in threads
LARGE_PICTURE = 3_000_000  # pixels to decode: larger pictures are decoded one at a time, to save memory
decoding_large = threading.Lock()
opening = threading.Lock()

LOOKS = 5  # how often a picture is looked at, each time at what was found before
VIEW = 100  # pixels: larger pictures are averaged down to about VIEW x VIEW, not far from the size of NIST's scans
SMALL = 56  # pixels: a picture up to this long has no room for sheets, frames, shadows or ruled lines
QUADRANGLE = 0.85  # least overlap / union with its quadrangle; a sheet with round corners has 0.9, a digit up to 0.84
FLAT = 0.18  # share of pixels in the middle third of the brightness range; plain paper has less, uneven light more
STROKE = 11  # cells of 4 pixels: darker areas up to this wide are ink, wider ones are shadows
SKEW = 0.2  # the least skewness of brightness: ink is the minority, but shadow and noise are half dark, half light
ROUGH = 0.85  # limit of neighbours' squared differences, as a share of those in white noise of equal variance
FAINT = 0.03  # the least darkness of ink, as a share of the paper's light; JPEG artefacts stay below
NOISE = 4  # the least darkness of ink, in medians of the paper's noise: about 2.7 standard deviations
SPECK = 0.05  # components smaller than this share of the main one are dust
THIN = 0.6  # printed lines are thinner than this share of the pen's width
PEN = 2.6  # stroke width in the 20 x 20 box, in pixels; MNIST's mean is 2.8
# Multiplied by a 28 x 28 image, these give its mass and its first moments in y and x (pixel centres are at +0.5).
MOMENTS = np.array([np.ones((SIZE, SIZE)), *(np.indices((SIZE, SIZE)) + 0.5)], np.float32).reshape(3, PIXELS)
IS_INK = bytes(value > 64 for value in range(256))  # JPEG artefacts stay below


class InputError(ValueError):
    """Input that cannot be used. The message is for the user: what, why, and what to do."""


# One picture.


def read_image(path):
    """Return the digit in a picture as MNIST would have it: (784,) uint8, 0 = background, 255 = full ink.

    path: a file's path, or a PIL.Image. Raises InputError if it cannot be read, or holds no digit or several.
    """
    picture = open_image(path)
    if picture.size == (SIZE, SIZE):
        pixels = np.frombuffer(picture.convert("L").tobytes(), np.uint8)
        if looks_like_mnist(pixels):
            return pixels
    return center_by_mass(normalize_stroke_width(find_digit(picture)))


def open_image(path, side=256):
    """Return a picture (path or PIL.Image) upright and opaque, L or RGB, averaged down to less than 2 `side` pixels.

    Raises InputError with the reason if it cannot be read.
    """
    try:
        if isinstance(path, Image.Image):
            if not all(path.size):
                raise InputError("has no pixels")
            return simplify(path.copy(), side)
        if not os.path.isfile(path):  # opening a pipe would block
            there = os.path.exists(path)
            raise InputError("neither a file nor a folder that can be listed" if there else "No such file or directory")
        with opening:  # Pillow's own limit is the whole program's; MAX_PIXELS limits what is decoded
            limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
            try:
                picture = Image.open(path, formats=FORMATS)
            finally:
                Image.MAX_IMAGE_PIXELS = limit
        with picture:
            if picture.size == (SIZE, SIZE) and picture.mode == "L" and "exif" not in picture.info:  # MNIST's: fast
                picture.load()
                return picture
            size = picture.size
            picture.draft(None, (side, side))  # a large JPEG is decoded at 1/2, 1/4 or 1/8 of its size
            pixels = math.prod(size if "progressive" in picture.info else picture.size)  # progressive: held in full
            if pixels > MAX_PIXELS:
                raise InputError(TOO_LARGE)
            with decoding_large if pixels > LARGE_PICTURE else contextlib.nullcontext():
                return simplify(picture, side)
    except InputError:
        raise
    except (Image.DecompressionBombError, MemoryError) as error:
        raise InputError(TOO_LARGE) from error
    except (UnidentifiedImageError, KeyError) as error:  # KeyError: an older Pillow has no AVIF
        raise InputError("not a picture in a supported format: save it as JPG or PNG") from error
    except Exception as error:  # Pillow's decoders raise nearly anything on a broken file
        raise InputError(getattr(error, "strerror", None) or f"broken picture ({str(error)[:120]})") from error


def simplify(picture, side):
    """Return an opened picture upright and opaque, L or RGB, averaged down to less than twice `side` pixels."""
    ImageOps.exif_transpose(picture, in_place=True)
    factor = max(1, max(picture.size) // side)
    if picture.mode[0] in "IF":  # 16 or 32 bits a pixel: the range in use varies
        values = np.nan_to_num(np.asarray(picture, np.float32), posinf=0, neginf=0)
        values = (values - values.min()) * (255 / max(np.ptp(values), 1e-30))
        return Image.fromarray(values.astype(np.uint8)).reduce(factor)
    if picture.mode == "RGBA" and picture.getchannel("A").getextrema()[0] == 255:  # opaque, as most screenshots are
        picture = picture.convert("RGB")
    if not picture.has_transparency_data:
        if picture.mode not in ("L", "RGB"):
            picture = picture.convert("L" if picture.mode == "1" else "RGB")
        return picture.reduce(factor)
    picture = picture.convert("RGBA").reduce(factor)
    for page in ("white", "black"):
        opaque = Image.alpha_composite(Image.new("RGBA", picture.size, page), picture).convert("RGB")
        if opaque.convert("L").getextrema()[0] < 128:  # ink that is nowhere dark on white is meant for a black page
            break
    return opaque


def find_digit(picture):
    """Return the strength of the ink of the digit in a picture: (height, width) float32, 0 = paper, above 1 = ink.

    A sheet of paper, or what a printed frame encloses, is cut out of the picture, and what is small in it is enlarged.
    Then the rest is looked at again. Raises InputError if there is no digit, or several.
    """
    for _ in range(LOOKS):
        if max(picture.size) <= SMALL:
            darkness = subtract_background(picture.convert("L"))
            strength, digit = separate(darkness, *thresholds(darkness))
            return np.where(dilate(digit), strength, 0)
        scale = max(1, round(math.sqrt(math.prod(picture.size)) / VIEW))
        view = picture.reduce(scale)
        if sheet := find_sheet(view):
            picture = keep_only(picture, *sheet)
            continue
        view = view.convert("L")
        printed = subtract_background(view)
        darkness = printed - ruled_lines(printed, (0, 0, *view.size))
        levels = thresholds(darkness)
        ink = printed > 0.7 * levels[0]  # a frame may be faint
        outline = find_outline(ink)
        inside = find_enclosed(darkness > levels[0], ink, outline)
        if inside is not None:
            picture = keep_only(picture, inside, inside)
            continue
        strength, digit = separate(darkness, *levels)
        box = bounds(digit)
        if is_quadrangle(digit) and stroke_width(sheet := fill_holes(digit)) > max(8, 0.3 * longest_side(box)):
            if not is_sheet(view, np.asarray(view) / 255, digit, sheet):  # it is empty
                raise InputError(NO_DIGIT)
            picture = keep_only(picture, sheet, digit)
        elif scale > 1 and longest_side(box) <= max(view.size) / 2:
            margin = 1 + longest_side(box) // 4
            box = np.add(box, (-margin, -margin, margin, margin)) * scale
            picture = picture.crop(np.clip(box, 0, picture.size * 2).tolist())  # size * 2: (w, h, w, h)
        else:
            strength, digit = remove_touching_lines(darkness, levels, strength, digit, outline)
            left, top, right, bottom = bounds(digit)
            if right - left > 2.5 * (bottom - top):  # no digit is so wide: of MNIST's 60,000 training images none
                raise InputError(NO_DIGIT)
            return np.where(dilate(digit), strength, 0)
    raise InputError(NO_DIGIT)


# Sheets of paper.


def find_sheet(view):
    """Return where a sheet of paper with what is on it, and where its paper, is (bool); or None if there is no sheet.

    A sheet, card or screen is one component: lighter, darker, more or less colourful than what is around.
    """
    half = view.reduce(-(-2 * max(view.size) // VIEW))  # half a VIEW is enough, and takes a quarter of the time
    grey = np.asarray(half.convert("L"), np.float32) / 255
    colour = np.ptp(np.asarray(half.convert("RGB")), axis=2) / np.float32(255)
    for values in (grey, colour) if colour.max() > 0.2 else (grey,):
        high = values > otsu(values)
        for area in (high, ~high):
            paper = most_open_component(area, diagonal=area is not high)  # light areas do not connect at corners
            sheet = fill_holes(paper, diagonal=area is high)
            shadow = (area is not high or values is colour) and border_of(paper).any()
            solid = paper.sum() > 0.7 * sheet.sum()  # a frame or a 0 is hollow
            differs = not sheet.all() and area[~sheet].mean() < 0.5  # around a square of squared paper are others
            if solid and differs and not shadow and is_sheet(view, values, paper, sheet):
                return sheet, paper
    return None


def most_open_component(ink, diagonal):
    """Return the component of the ink (bool) with the highest score, as in main_components."""
    labels = connected_components(ink, diagonal)
    size = np.bincount(labels.ravel())
    size[0] = 0
    return (labels == (size * openness(labels) ** 4).argmax()) & ink


def is_sheet(view, values, paper, sheet):
    """Return whether a component (bool), with its holes filled (bool), is a sheet of paper with something on it.

    It is a quadrangle. At least half of the difference in values from what is around appears within two pixels of its
    edge, and something on it has as much contrast in grey. view: the picture, as large as these or larger.
    """
    if not is_quadrangle(sheet):
        return False
    around = ~sheet
    outer = around & dilate(sheet, 2)
    farther = outer & ~dilate(sheet)
    step = np.median(values[sheet & dilate(around)]) - np.median(values[farther if farther.any() else outer])
    darkest, lightest = (view.convert("L").filter(kind(3)) for kind in (ImageFilter.MinFilter, ImageFilter.MaxFilter))
    contrast = ImageChops.subtract(lightest, darkest).resize(sheet.shape[::-1], Image.Resampling.NEAREST)
    content = np.asarray(contrast)[sheet & ~dilate(around, 2)].max(initial=0) / 255
    half = abs(np.median(values[paper]) - np.median(values[around])) / 2
    return abs(step) > half and content > half


def is_quadrangle(ink):
    """Return whether the ink has four straight sides: it covers most of the quadrangle between its outermost points."""
    y, x = np.nonzero(ink)
    for u, v in (x, y), (x + y, x - y):  # outermost along the axes, or along the diagonals
        corners = [(int(x[at]), int(y[at])) for at in (u.argmax(), v.argmax(), u.argmin(), v.argmin())]
        drawing = Image.new("1", ink.shape[::-1])
        ImageDraw.Draw(drawing).polygon(corners, fill=1)
        quadrangle = np.asarray(drawing)
        sides = [math.dist(corners[at - 1], corners[at]) for at in range(4)]  # a triangle has a short one
        if min(sides) > max(sides) / 5 and (ink & quadrangle).sum() > QUADRANGLE * (ink | quadrangle).sum():
            return True
    return False


def keep_only(picture, inside, paper):
    """Return the picture cropped to `inside` (bool); what lies around that is painted like the paper (bool)."""
    picture = picture.convert("L")
    view = np.asarray(picture.resize(inside.shape[::-1], Image.Resampling.BOX), np.float32)
    around = Image.fromarray(255 * np.uint8(dilate(~inside))).resize(picture.size)
    picture.paste(Image.fromarray(plane(view, paper)).convert("L").resize(picture.size), mask=around)
    return picture.crop((np.multiply(bounds(inside), picture.size * 2) // (inside.shape[::-1] * 2)).tolist())


# Paper and ink.


def subtract_background(picture):
    """Return how much of the paper's light each pixel lacks, (height, width) float32: 0 = paper, 1 = black.

    Raises InputError if there is no ink: then the values are noise, or as often lighter as darker than around them.
    """
    values, small = np.asarray(picture, np.float32), max(picture.size) <= SMALL
    doubt = 2 if small else 1  # small pictures have soft edges and noisy statistics
    darkest, lightest = picture.getextrema()
    middle = np.abs(2 * values - darkest - lightest) < (lightest - darkest) / 3
    plain = lightest - darkest > 127 and middle.mean() < FLAT * doubt
    around = picture.filter(ImageFilter.BoxBlur(max(picture.size) // (2 if plain else 6)))
    contrast = values - np.asarray(around, np.float32)
    square = contrast * contrast
    skewness = (square * contrast).mean() / (square.mean() + 1e-6) ** 1.5
    if not plain and abs(skewness) < SKEW * doubt:
        raise InputError(NO_DIGIT)
    if skewness > 0:  # ink is the minority: here it is light
        picture, values = ImageOps.invert(picture), 255 - values
    page = values >= (values.min() + values.max()) / 2
    paper = (np.median(values[page]) if small else plane(values, page)) if plain else closing(picture)
    darkness = (paper - values) / np.maximum(paper, 1)
    steps = sum((np.diff(darkness, axis=axis) ** 2).sum() for axis in (0, 1))
    if steps > ROUGH * 4 * darkness.var() * darkness.size:
        raise InputError(NO_DIGIT)
    return darkness


def plane(values, page):
    """Return the plane (height, width) that fits the values of a page (bool) best. A second fit leaves out the ink."""
    y, x = (at[::16] for at in np.nonzero(page))  # one pixel in 16 is enough
    terms, light, darkest = np.stack([np.ones(len(y)), y, x], axis=1), values[y, x], values.min()
    for _ in range(2):
        fit = np.linalg.lstsq(terms, light, rcond=None)[0]
        keep = light > (terms @ fit + darkest) / 2
        terms, light = terms[keep], light[keep]
    level, down, right = fit.astype(np.float32)
    y, x = np.indices(values.shape, np.float32, sparse=True)
    return level + down * y + right * x


def closing(picture):
    """Return a grey closing of the picture, (height, width) float32: the paper's light without the ink."""
    cells = np.asarray(picture.reduce(4).filter(ImageFilter.MaxFilter(STROKE)), np.int16)
    reach = min(STROKE // 2, min(cells.shape) - 1)
    cells = np.pad(cells, reach, mode="reflect", reflect_type="odd")  # so that a shadow at the border is not ink
    cells = cells.clip(0, 255).astype(np.uint8)
    closed = ImageOps.crop(Image.fromarray(cells).filter(ImageFilter.MinFilter(STROKE)), reach)
    return np.asarray(closed.resize(picture.size, Image.Resampling.BICUBIC), np.float32)


def thresholds(darkness):
    """Return the least darkness of ink, and the darkness above which a pixel is certainly ink."""
    noise = -np.median(np.append(darkness[darkness <= 0], 0))  # of what is lighter than the paper
    least = max(NOISE * noise, FAINT)
    certain = max(otsu(darkness), least)
    return max(certain / 2, least), certain


def otsu(values):
    """Split values, 0 to 1, in two where each part varies least (Otsu 1979); return the middle of their means."""
    count = np.bincount(np.uint8(255 * values.clip(0, 1)).ravel(), minlength=256)
    below, sums = count.cumsum(), (count * np.arange(256)).cumsum()
    above = below[-1] - below
    low, high = sums / np.maximum(below, 1), (sums[-1] - sums) / np.maximum(above, 1)
    best = (below * above * (high - low) ** 2).argmax()
    return (low[best] + high[best]) / 2 / 255


def separate(darkness, least, certain):
    """Return the strength of the ink, (height, width) float32, above 1 = ink, and where the digit is (bool).

    This is hysteresis (Canny 1986). A faint stroke is ink if it is darker than its surroundings and than `least`, and
    connected to a pixel that is darker than `certain`.
    """
    grey = Image.fromarray(np.uint8(255 * darkness.clip(0, 1)))
    around = np.asarray(grey.filter(ImageFilter.BoxBlur(max(grey.size) / 16)), np.float32) / 255
    strength = darkness / np.clip(1.5 * around, least, certain)
    labels = connected_components(strength > 1)
    reached = np.bincount(labels[darkness > certain], minlength=labels.max() + 1) > 0
    return strength, main_components(labels * reached[labels])


# Printed frames and lines.


def find_outline(ink):
    """Return the largest hollow component of the ink (bool), with its holes filled (bool); all False without one."""
    parts = connected_components(fill_holes(ink))
    size = np.bincount(parts.ravel())
    size[0] = 0
    outline = (parts == size.argmax()) & (parts > 0)
    hollow = np.count_nonzero(outline & ink) < 0.7 * size.max()
    return outline if hollow else np.zeros_like(outline)


def find_enclosed(digits, ink, outline):
    """Return what a printed frame encloses (bool), or all but a stamp beside the digit (bool), or None without either.

    digits: the ink (bool) without ruled lines, as the squares in a 0 on squared paper do not count. A frame is a box, a
    comb or a circle: its outline is a rectangle or an ellipse; that of a hollow digit is not.
    """
    if not outline.any() or openness(1 * outline)[1] > 1.06:
        return None
    labels = connected_components(ink)
    enclosed = np.bincount(labels[digits & outline], minlength=labels.max() + 1)
    beside = np.bincount(labels[~outline], minlength=len(enclosed))
    enclosed[labels[outline][:1]] = enclosed[0] = 0  # the first pixel is the frame's
    beside[border_of(labels)] = beside[0] = 0
    if not enclosed.any():
        return None
    digit, other = labels == enclosed.argmax(), labels == beside.argmax()
    left, top, right, bottom = bounds(outline)
    if longest_side(bounds(digit)) < min(right - left, bottom - top) / 4:  # it is a blot in a 0
        return None
    if beside.max() > enclosed.sum() and stroke_width(other) > 1.2 * stroke_width(digit):  # the digit is beside a stamp
        return ~outline
    return outline & (~ink | (enclosed[labels] > 0))


def remove_touching_lines(darkness, levels, strength, digit, outline):
    """Return the strength of the ink and the digit (bool) without a printed frame or line that it touches, if any.

    When a frame's lines are removed, ink is left in its middle: in the loops of 4, 6, 8 and 9 there is none. A line
    through the foot is thinner than the digit's strokes, and longer than the digit is wide. levels: from `thresholds`.
    """
    with contextlib.suppress(InputError):
        margin = round(np.count_nonzero(outline) ** 0.5) // 5  # strokes that stick out are narrower than two of these
        outline = Image.fromarray(255 * np.uint8(np.pad(outline, 1)))
        middle = np.asarray(outline.filter(ImageFilter.BoxBlur(margin)))[1:-1, 1:-1] == 255  # an erosion
        left, top, right, bottom = bounds(middle)
        frame = max(0, left - margin), max(0, top - margin), right + margin, bottom + margin
        rest = darkness - ruled_lines(darkness, frame)
        if np.count_nonzero(middle & (rest > levels[0])) > np.count_nonzero(middle) / 9:
            return separate(rest, *levels)
    left, _, right, _ = box = bounds(digit)
    line = ruled_lines(darkness, box, upright=False)
    with contextlib.suppress(InputError):
        if line.max() > FAINT:
            ink, rest = separate(darkness - line, *levels)
            x0, _, x1, _ = bounds(rest)
            if x0 > left and x1 < right and stroke_width(digit & ~rest) < THIN * stroke_width(rest):
                return ink, rest
    return strength, digit


def ruled_lines(darkness, box, upright=True):
    """Return how dark the lines are that cross a box from edge to edge, (height, width) float32, also upright ones."""
    left, top, right, bottom = box
    part, lines = darkness[top:bottom, left:right], np.zeros_like(darkness)
    found = horizontal_lines(part)
    lines[top:bottom, left:right] = np.maximum(found, horizontal_lines(part.T).T) if upright else found
    return lines


def horizontal_lines(darkness):
    """Return how dark the thin horizontal lines are that cross from edge to edge, (height, width) float32."""
    height, width = darkness.shape
    narrow = Image.fromarray(darkness).resize((16, height), Image.Resampling.BOX).crop((0, -4, 16, height + 4))
    rows = np.asarray(narrow)
    near = np.max([np.roll(rows, shift, axis=0) for shift in range(-4, 5)], axis=0)
    if near.min(axis=1).max() < FAINT:  # no line, which is in all 16 columns: this is faster
        return np.zeros_like(darkness)
    drops = range(-7, 8)  # pixels from end to end: up to 3 degrees
    sheared = np.stack([shear(narrow, drop) for drop in drops]).clip(0)  # (15, height + 8, 16)
    sheared = np.max([np.roll(sheared, shift, axis=1) for shift in (-1, 0, 1)], axis=0)  # a line may lie between rows
    lines = sheared.min(axis=2)
    best = (lines**2).sum(axis=1).argmax()
    around = np.maximum(np.roll(sheared[best], 4, axis=0), np.roll(sheared[best], -4, axis=0))
    dark = np.median(sheared[best], axis=1)
    even = lines[best] > np.maximum(FAINT, dark / 4)
    line = np.where(even, dark - np.median(around, axis=1), 0).clip(0)  # thicker marks are not lines
    return np.asarray(shear(Image.fromarray(line[:, np.newaxis]).resize((width, height + 8)), -drops[best]))[4:-4]


def shear(picture, drop):
    """Return the picture with its right end moved up by `drop` pixels against its left end."""
    matrix = 1, 0, 0, drop / picture.width, 1, -drop / 2
    return picture.transform(picture.size, Image.Transform.AFFINE, matrix)


# Components: areas of ink, or of paper, that are connected.


def connected_components(ink, diagonal=True):
    """Return the number of each pixel's component, (height, width) int: 0 = paper. Corners connect if `diagonal`."""
    width = ink.shape[1] + 2
    flat = np.pad(ink, 1).ravel()
    runs = np.cumsum(flat & ~np.roll(flat, 1)) * flat  # each row's runs of ink, numbered
    here = np.flatnonzero(flat)
    pairs = np.hstack([(runs[here], runs[here + width + shift]) for shift in ((-1, 0, 1) if diagonal else (0,))])
    pairs = pairs[:, (pairs[1] > 0) & np.diff(pairs, prepend=0).any(axis=0)]  # without most repeats
    label = np.arange(runs.max() + 1)
    while (label[pairs[0]] != label[pairs[1]]).any():  # runs that touch take the smaller number
        first, second = label[pairs]
        np.minimum.at(label, np.maximum(first, second), np.minimum(first, second))
        label = label[label]
    return label[runs].reshape(-1, width)[1:-1, 1:-1]


def fill_holes(ink, diagonal=False):
    """Return the ink (bool) and all that it encloses; diagonal: whether the paper around it connects at corners."""
    paper = connected_components(~np.pad(ink, 1), diagonal)
    return (paper != paper[0, 0])[1:-1, 1:-1]


def main_components(labels):
    """Return the ink (bool) of the component with the highest score and of those near it, without specks.

    The score is size x openness^4: high for long strokes, low for blots. A component at the border is a neighbour's
    stroke, unless all are at the border or it has by far the highest score. In a small picture all components are near.
    Raises InputError if there is no digit, or several.
    """
    size, boxes = np.bincount(labels.ravel()), component_boxes(labels)
    size[0] = 0
    border = np.isin(np.arange(len(size)), border_of(labels))
    main = (size * openness(labels) ** 4 * np.where(border, 0.003, 1)).argmax()  # a frame that is cut off scores high
    if not size[main]:
        raise InputError(NO_DIGIT)
    keep = (size > SPECK * size[main]) & (border <= border[main])
    box, pen = boxes[main], stroke_width(labels == main)
    for other in np.flatnonzero(keep):
        if other != main and is_line(boxes[other], stroke_width(labels == other), box, pen):
            keep[other] = False
        elif are_apart(box, boxes[other]):
            raise InputError(NO_DIGIT if is_straight(box) or pen < 1.5 else SEVERAL)  # the lines of empty paper
    margin = longest_side(box) // 4 if max(labels.shape) > SMALL else SMALL
    left, top, right, bottom = box + (-margin, -margin, margin, margin)
    near = (boxes[:, 0] < right) & (boxes[:, 1] < bottom) & (boxes[:, 2] > left) & (boxes[:, 3] > top)
    return (keep & near)[labels]


def component_boxes(labels):
    """Return the left, top, right and bottom of each component, (components, 4) int."""
    y, x = np.nonzero(labels)
    ends = []
    for at, length in zip((x, y), labels.shape[::-1]):
        present = np.zeros((labels.max() + 1, length), bool)
        present[labels[y, x], at] = True
        ends.append((present.argmax(axis=1), length - present[:, ::-1].argmax(axis=1)))
    (left, right), (top, bottom) = ends
    return np.stack([left, top, right, bottom], axis=1)


def is_line(box, width, digit, pen):
    """Return whether a component is a printed line, by its box and stroke width and those of the digit.

    It is straight, and thinner than the digit's pen, or under the digit and wider: the base of a 2 is not.
    """
    under = box[1] >= digit[3] and box[2] - box[0] > 1.25 * (digit[2] - digit[0])
    return is_straight(box) and (width < THIN * pen or under)


def is_straight(box):
    """Return whether a box (left, top, right, bottom) is as long and narrow as a line."""
    return longest_side(box) ** 2 > 8 * (box[2] - box[0]) * (box[3] - box[1])


def are_apart(box, other):
    """Return whether two boxes (left, top, right, bottom) hold two digits: similar height, with a gap between."""
    heights = sorted([box[3] - box[1], other[3] - other[1]])
    gap = max(box[0] - other[2], other[0] - box[2], box[1] - other[3], other[1] - box[3])
    return gap > 1 + heights[1] // 12 and heights[0] > 0.6 * heights[1]


def openness(labels):
    """Return each component's openness, (components,) float: high for long strokes, low for blots and paper.

    It is the area of the ellipse with the component's second moments, divided by its size: 1 for an ellipse, 1.05 for
    a rectangle. A pen that lies on the page fills its ellipse, a digit does not.
    """
    y, x = np.nonzero(labels)
    number, count = labels[y, x], labels.max() + 1
    size = np.maximum(np.bincount(number, minlength=count), 1)
    my, mx, yy, xx, xy = (np.bincount(number, values, count) / size for values in (y, x, y * y, x * x, x * y))
    variances = (yy - my * my + 1 / 12) * (xx - mx * mx + 1 / 12)  # 1 / 12: a pixel's own
    return 4 * np.pi * np.sqrt(variances - (xy - my * mx) ** 2) / size


def border_of(array):
    """Return the outermost pixels of an array (height, width)."""
    return np.concatenate([array[0], array[-1], array[:, 0], array[:, -1]])


def bounds(ink):
    """Return the left, top, right and bottom of the ink (bool), as Pillow counts them; InputError if there is none."""
    box = Image.fromarray(ink).getbbox()
    if not box:
        raise InputError(NO_DIGIT)
    return box


def longest_side(box):
    """Return the length of the longer side of a box (left, top, right, bottom)."""
    return max(box[2] - box[0], box[3] - box[1])


def dilate(ink, radius=1):
    """Return the ink (bool) with all that is within a disc of `radius` pixels around it."""
    picture = Image.fromarray(255 * np.uint8(ink))
    cross = ImageFilter.Kernel((3, 3), [0, 1, 0, 1, 1, 1, 0, 1, 0], scale=1 / 255)
    for step in range(radius):  # cross and square in turn: nearly a disc
        picture = picture.filter(cross if step % 2 == 0 and radius > 1 else ImageFilter.BoxBlur(1))
    return np.asarray(picture) > 0


def stroke_width(ink):
    """Return the mean width of the strokes (bool), in pixels."""
    # Area = length x width. Outline = 2 x length, but counted in pixel steps it is about 4 / pi times too long.
    outline = sum(np.count_nonzero(np.diff(ink, axis=axis)) for axis in (0, 1))
    return 2 * np.count_nonzero(ink) / (np.pi / 4 * max(outline, 1))


# MNIST's form.


def looks_like_mnist(pixels):
    """Return whether pixels, (784,) uint8, are in MNIST's form: light ink on dark, 14 to 20 long, centred, in greys."""
    mass, y, x = MOMENTS.dot(pixels).tolist()
    if not (13.6 * mass < y < 15.2 * mass and 13.6 * mass < x < 15.2 * mass):
        return False
    image = pixels.reshape(SIZE, SIZE)
    inks = [array.tobytes().translate(IS_INK) for array in (image, image.T)]  # for so few pixels faster than arrays
    length = max(ink.rfind(1) // SIZE - ink.find(1) // SIZE + 1 for ink in inks)
    dark = np.count_nonzero(pixels < 16) > PIXELS / 2
    return 14 <= length <= 20 and dark and pixels.tobytes().strip(b"\0\xff") != b""


def normalize_stroke_width(strength):
    """Return the ink (bool), about 80 pixels long, with MNIST's stroke width."""
    left, top, right, bottom = box = bounds(strength > 0)
    longest = longest_side(box)
    margin = 2 + longest // 8
    digit = Image.fromarray(strength).crop((left - margin, top - margin, right + margin, bottom + margin))
    size = [round(side * 80 / longest) for side in digit.size]
    ink = np.asarray(digit.resize(size, Image.Resampling.BICUBIC)) > 1  # enlarged: smooth edges
    width = stroke_width(ink)
    # The dilation after which width / length is PEN / 20. Both grow by twice its radius.
    change = (PEN * longest_side(bounds(ink)) - 20 * width) / (20 - PEN) / 2
    return dilate(ink, round(change)) if change > 0 else ~dilate(~ink, round(-change / 2))  # half: thin strokes break


def center_by_mass(ink):
    """Return ink (bool) as MNIST was made, (784,) uint8 (Yadav & Bottou 2019).

    It is area-averaged into a box of 20 x 20, with the brightest pixel 255 and the centre of mass in pixel 14.
    """
    left, top, right, bottom = bounds(ink)
    digit = Image.fromarray(ink[top:bottom, left:right]).convert("L")
    size = [max(1, round(20 * side / max(digit.size))) for side in digit.size]
    digit = np.asarray(digit.resize(size, Image.Resampling.BOX), np.float32)
    pixels = np.zeros((SIZE, SIZE), np.uint8)
    pixels[: size[1], : size[0]] = (digit * (255 / digit.max())).round()
    mass, *moments = MOMENTS @ pixels.ravel()
    shifts = [np.clip(int(15 - moment / mass), 0, SIZE - side) for moment, side in zip(moments, digit.shape)]
    return np.roll(pixels, shifts, axis=(0, 1)).ravel()


# Many pictures.


def read_images(paths, batch=32):
    """Yield, in order, (path, pixels) for each picture, or (path, InputError) if it cannot be read.

    pixels: (784,) uint8; batch: paths taken at a time. Large files are read in threads: Pillow decodes in parallel.
    """
    paths = iter(paths)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        while some := list(islice(paths, batch)):
            yield from (pool.map if any(map(is_large, some)) else map)(try_image, some)


def is_large(path):
    """Return whether a picture's file is large."""
    try:
        return os.path.getsize(path) > LARGE_FILE
    except (OSError, ValueError, TypeError):  # read_image will say why; TypeError: a PIL.Image
        return False


def try_image(path):
    """Return (path, pixels), or (path, InputError) if the picture cannot be read."""
    try:
        return path, read_image(path)
    except InputError as error:
        return path, error


def walk(folder):
    """Yield the path of every file in `folder` and its sub-folders, in natural order: 2.jpg before 10.jpg.

    Hidden, temporary and system files, and links to folders, are skipped; a folder that cannot be listed is yielded.
    """
    skipped = re.compile(r"\.|.*\.[0-9]+\.new$|(eh)?thumbs\.db$|desktop\.ini$", re.IGNORECASE)
    unlisted = []
    for parent, folders, files in os.walk(folder, onerror=lambda error: unlisted.append(error.filename)):
        folders[:] = sorted((name for name in folders if name[0] != "."), key=natural)
        yield from (os.path.join(parent, name) for name in sorted(files, key=natural) if not skipped.match(name))
    yield from unlisted


def label_of(path):
    """Return the digit (int) that a picture's folder is named after, or the nearest folder above that is; or None."""
    folders = os.path.dirname(os.path.abspath(path)).split(os.sep)
    return next((int(name) for name in reversed(folders) if name in DIGITS), None)


def natural(name):
    """Return a sort key that compares the numbers in names by value, and equal ones (1 and 01) as text."""
    parts = re.split("([0-9]+)", name)
    return [int(part) if i % 2 else part for i, part in enumerate(parts)], name


# CSV files.


TEXTS = np.array([f"{value}," for value in range(256)], "S4").view(np.uint32)  # padded with zero bytes


def to_csv(label, pixels):
    """Return the CSV row (bytes) of an image: label, 0 to 9, and pixels, (784,) uint8.

    The text of each pixel is looked up, and the padding deleted: np.savetxt takes ten times as long.
    """
    return f"{label},".encode() + TEXTS.take(pixels).tobytes().translate(None, b"\0")[:-1] + b"\n"


def read_csv(path):
    """Return the labels, (n,) uint8, and the pixels, (n, 784) uint8, of a CSV file. A header line is skipped.

    Raises InputError with the number of the first invalid line, or if the file is missing or empty.
    """
    lines = []  # the numbers of those read
    try:
        with open(path, encoding="utf-8-sig", errors="replace") as file, warnings.catch_warnings():
            warnings.simplefilter("error")  # loadtxt only warns about no rows at all, and about 1.0
            rows = np.loadtxt(csv_lines(file, lines), np.uint8, delimiter=",", comments=None, ndmin=2)
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file: CSV files are made by data_tocsv.py") from error
    except (ValueError, Warning) as error:  # loadtxt takes one line after the other
        fault = f"line {lines[-1]}: expected a digit and {PIXELS} whole numbers from 0 to 255" if lines else "no rows"
        raise InputError(f"{path}: {fault}") from error
    return rows[:, 0], rows[:, 1:]


def csv_lines(file, lines):
    """Yield the lines of a CSV file that are rows, and append their numbers to a list; ValueError at a wrong label."""
    for number, line in enumerate(file, 1):
        if line != "\n" and not (number == 1 and line.startswith("label")):
            lines.append(number)
            if int(line.partition(",")[0]) > 9 or (len(lines) == 1 and line.count(",") != PIXELS):
                raise ValueError  # loadtxt sees whether the other lines are as long, and what else can be wrong
            yield line


# Helpers that the three scripts share.


def run(main):
    """Run a script's main() and exit with the status it returns; an error becomes one line on stderr, status 2."""
    sys.stdin = sys.stdin or open(os.devnull)  # noqa: SIM115  # None if the shell has closed it
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    for stream, encoding in (sys.stdin, "utf-8-sig"), (sys.stdout, "utf-8"), (sys.stderr, "utf-8"):
        if isinstance(stream, io.TextIOWrapper):  # -sig: PowerShell starts with a byte order mark
            stream.reconfigure(encoding=encoding, errors="surrogateescape")  # file names may be any bytes
    if os.name == "nt":  # no shell there expands * and ?, and "photos\" ends in a quote
        words = [word.strip('"') for word in sys.argv]
        sys.argv = sum((sorted(glob.glob(word.replace("[", "[[]"))) or [word] for word in words), [])
    for number in signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM):  # Windows has no SIGHUP
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup has it
            signal.signal(number, lambda number, _: sys.exit(128 + number))  # an exception removes temporary files
    warnings.simplefilter("ignore")  # Pillow's, about odd files that it can read
    Image.core.set_block_size(1 << 30)  # one block of memory per picture: threads do not give back many small ones
    status = 0
    try:
        if sys.version_info < (3, 10):  # noqa: UP036
            raise InputError("Python 3.10 or newer is needed")
        status = main()
        sys.stdout.flush()  # a full disk or a closed pipe shows here
    except KeyboardInterrupt as error:
        log(": ".join(("interrupted", *error.args)))
        status = 130
    except (InputError, MemoryError) as error:
        log(f"error: {str(error) or 'out of memory'}")
        status = 2
    except OSError as error:
        closed = os.name == "nt" and error.errno == errno.EINVAL and not error.filename  # a closed pipe (cpython#79935)
        if not closed and not isinstance(error, BrokenPipeError):  # else its reader (head, say) has had enough
            log(f"error: {error.filename or 'output'}: {error.strerror or error}")
            status = 2
    finally:
        for stream in sys.stdout, sys.stderr:
            try:
                stream.flush()
            except OSError:  # drop the rest, or Python tries again at exit, complains, and changes the status to 120
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    sys.exit(status)


def make_parser(description, epilog):
    """Return an argparse parser with what the scripts share: the option -q, and types for the names of output files."""
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, epilog=epilog, formatter_class=layout, allow_abbrev=False)
    parser.add_argument("-q", "--quiet", action="store_true", help="no progress, notes or summary")
    for suffix in ".csv", ".npz", ".png":  # type=".csv" is then a file to write
        parser.register("type", suffix, functools.partial(check_output, suffix=suffix))
    return parser


def check_output(path, suffix=""):
    """Return the path of a file to write. Raises an error before the work if it could not be written after it."""
    if not path.lower().endswith(suffix):  # it might be a picture
        raise argparse.ArgumentTypeError(f"{path} does not end in {suffix}")
    folder = os.path.dirname(os.path.realpath(path))
    if not os.path.isdir(folder):
        raise FileNotFoundError(errno.ENOENT, "no such folder", folder)
    with contextlib.suppress(FileNotFoundError):
        open(path, "r+b").close()  # is it a folder, read-only, or open in Excel?
    return path


@contextlib.contextmanager
def replacing(path, mode="wb", **options):
    """Open a temporary file that replaces `path` if the block ends without an error: never half a file."""
    target = os.path.realpath(path)  # a link stays, what it leads to is replaced
    temporary = f"{target}.{os.getpid()}.new"
    try:
        with open(temporary, mode, **options) as file:
            with contextlib.suppress(OSError):  # what others must not read stays so
                shutil.copymode(target, temporary)
            yield file
            file.flush()
            os.fsync(file.fileno())
        move(temporary, target)
    except KeyboardInterrupt as error:
        raise KeyboardInterrupt("older files are kept") from error
    except OSError as error:
        if error.filename in (None, temporary):  # else it is another file's
            error.filename = path
        raise
    finally:
        with contextlib.suppress(OSError):
            os.unlink(temporary)


def move(source, target):
    """Rename a file or folder. Windows refuses that while anybody has it open: there, try again for two seconds."""
    for _ in range(20 if os.name == "nt" else 0):
        with contextlib.suppress(PermissionError):
            return os.replace(source, target)
        time.sleep(0.1)
    os.replace(source, target)


def progress(items, quiet, **options):
    """Return `items` with a tqdm progress bar, where tqdm is installed and stderr is a terminal."""
    with contextlib.suppress(ImportError):
        if sys.stderr.isatty() and not quiet:
            from tqdm import tqdm

            return tqdm(items, leave=False, dynamic_ncols=True, **options)
    return items


def log(message, quiet=False):
    """Write one line to stderr, after the script's name."""
    if not quiet:  # if nobody reads stderr, the work goes on
        say(sys.stderr, f"{os.path.basename(sys.argv[0])}: {message}", ignore=OSError)


def say(file, *fields, end="\n", ignore=()):
    """Write a line of fields to stdout or stderr at once, above the progress bar; ignore: errors that do not matter."""
    tqdm = sys.modules.get("tqdm")
    write = tqdm.tqdm.write if tqdm and file.isatty() else print
    with contextlib.suppress(ignore):
        write("\t".join(map(printable, fields)), file=file, end=end)
        file.flush()


def printable(text):
    r"""Return `text` with control characters (\n, \x1b) and broken UTF-16 escaped: file names may hold any."""
    return re.sub(r"[\x00-\x1f\x7f-\x9f\ud800-\udc7f\udd00-\udfff]", lambda odd: repr(odd[0])[1:-1], str(text))


# The command.


def find_pictures(folder):
    """Return the training pictures and the test pictures in a folder: two lists of (label, path), sorted.

    They are in sub-folders 0 to 9 (or deeper) of a sub-folder with "train" in its name, or else with "test". Raises
    InputError if there are none, or if the folder is laid out otherwise.
    """
    parts = [part for part in os.scandir(folder) if part.name[0] != "."]
    parts = [part for part in parts if any(os.path.isdir(os.path.join(part, digit)) for digit in DIGITS)]
    training = [part.path for part in parts if "train" in part.name.lower()]
    testing = [part.path for part in parts if "test" in part.name.lower() and part.path not in training]
    found = [], []
    for pictures, word, parts in zip(found, ("train", "test"), (training, testing)):
        if len(parts) > 1:
            raise InputError(f'{folder}: several sub-folders with "{word}" in their names: {", ".join(parts)}')
        for part, digit in product(parts, DIGITS):
            if not os.path.isdir(os.path.join(part, digit)):
                raise InputError(f"{part}: no sub-folder {digit}: make all of 0 to 9, even if empty")
            pictures += [(label_of(path), path) for path in walk(os.path.join(part, digit))]
    if not any(found):
        reason = "it must hold training/0 ... training/9, testing/0 ... testing/9, or both"
        if training + testing:
            reason = f"0 to 9 in {', '.join(training + testing)} are empty"
        elif os.path.isdir(os.path.join(folder, "0")):
            reason = "give the folder above"
        raise InputError(f"{folder}: no pictures: {reason}")
    return found


def write_rows(file, pictures, **options):
    """Write a CSV row for each readable picture in a list of (label, path); return how many."""
    count = 0
    labels, paths = zip(*pictures)
    for label, (path, pixels) in zip(labels, progress(read_images(paths), total=len(paths), **options)):
        if isinstance(pixels, InputError):
            log(f"{path}: {pixels}")
        else:
            file.write(to_csv(label, pixels))
            count += 1
    return count


def main(argv=None):
    """Convert folders of digit pictures; return the exit status: 0, or 1 if some could not be read."""
    parser = make_parser(
        "Turn folders of digit pictures into train_images.csv and test_images.csv.",
        "A FOLDER holds a sub-folder with train in its name, one with test, or both; each has sub-folders 0 to 9.\n"
        "Several FOLDERs are put together; one given twice counts twice. Linked sub-folders are left out.\n\n"
        "examples: python data_tocsv.py datasets/sample\n"
        "          python data_tocsv.py datasets/mnist my_digits",
    )
    default = "datasets/mnist" if os.path.isdir("datasets/mnist") else "datasets/sample"
    add = parser.add_argument
    add("folders", nargs="*", default=[default], metavar="FOLDER", help="default: datasets/mnist, else datasets/sample")
    add("-o", "--output", default="datasets", metavar="DIR", help="where to write (default: %(default)s)")
    args = parser.parse_args(argv)

    training, testing = (sum(parts, []) for parts in zip(*map(find_pictures, args.folders)))
    targets = [os.path.join(args.output, os.path.basename(csv)) for csv in (TRAIN_CSV, TEST_CSV)]
    for word, pictures in (("training", training), ("test", testing)):
        if not pictures:
            folders = ", ".join(args.folders)
            raise InputError(f"{folders}: no {word} pictures: name another folder, too, such as datasets/sample")
    if not os.path.isdir(args.output):
        os.mkdir(check_output(args.output))
    unread = 0
    with contextlib.ExitStack() as stack:  # both are written before either is replaced
        files = [stack.enter_context(replacing(check_output(target))) for target in targets]
        for target, file, pictures in zip(targets, files, (training, testing)):
            count = write_rows(file, pictures, quiet=args.quiet, desc=os.path.basename(target), unit=" pictures")
            if not count:
                raise InputError(f"{target}: none of its {len(pictures):,} pictures can be read")
            unread += len(pictures) - count
            log(f"{target}: {count:,} rows", args.quiet)
    options = "" if args.output == "datasets" else f' --train "{targets[0]}" --test "{targets[1]}"'
    log(f"next: python train_network.py{options} --epochs 200", args.quiet)
    if unread:
        log(f"{unread:,} not read: exit status 1", args.quiet)
    return 1 if unread else 0


if __name__ == "__main__":
    run(main)
