"""Pictures to numbers: turn folders of digit pictures into train_images.csv and test_images.csv.

A picture becomes 784 pixels: 28 rows of 28, read row by row, 0 for the background and 255 for full ink, as in MNIST.
A CSV row is `label,p0,...,p783`, without a header: the public "MNIST in CSV" layout.

In this order: one picture (`read_image`), many pictures on all cores (`read_images`), CSV files (`to_csv`, `read_csv`),
what the three scripts share in their dealings with the shell (`run`, `replacing`), and the command.
"""

import os

if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # more would be in the way of the processes that read pictures

import argparse
import contextlib
import pickle
import re
import shutil
import signal
import stat
import subprocess
import sys
import time
import warnings
from collections import deque

import numpy as np
from PIL import ExifTags, Image, ImageFilter, ImageOps, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

SIZE = 28  # pixels a side
PIXELS = SIZE * SIZE
DIGITS = ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]  # the names of the folders
TRAIN_CSV = "datasets/train_images.csv"
TEST_CSV = "datasets/test_images.csv"

# What people's pictures are saved as, and the most megapixels that are decoded: fewer where Pillow holds copies.
# No other format is opened: some of Pillow's start programs or open more files.
FORMATS = {"JPEG": 50, "PNG": 50, "GIF": 50, "BMP": 50, "TIFF": 40, "PPM": 20, "WEBP": 13, "AVIF": 20}
OTHER_FORMATS = {  # how their files begin
    "HEIC": rb"....ftyp(hei|hev|mif1|msf1)",
    "PDF": rb"%PDF",
    "PostScript": rb"%!|\xc5\xd0\xd3\xc6",
    "SVG": rb"\s*<(svg|\?xml)",
}
MAX_FILE = 100_000_000  # bytes: more than a phone's largest photo, less than a film
MAX_MEMORY = 210_000_000  # bytes that a picture may take: four at once take less than 1 GB
TOO_LARGE = "too large for a picture of a digit: make it smaller"
NO_DIGIT = "no digit found"
SEVERAL = "more than one digit: cut the picture up"

# Lengths below are in pixels of a view: the picture, averaged down to VIEW pixels or fewer.
VIEW = 128  # NIST's scans were about 100 a digit; a larger view shows no more and takes longer
SMALL = 56  # a picture up to this long (twice MNIST's) has no room for shadows and ruled lines: its paper is plain
FLAT = 0.18  # of the pixels, in the middle third between lightest and darkest: plain paper has fewer, uneven light more
STROKE = 11  # cells of 4 pixels: what is darker than its surroundings and narrower is ink, what is wider is a shadow
FAINT = 0.03  # of the light of the paper, which ink lacks: the ripples of JPG less, the faintest pencil more
RULE = 7  # ruled lines are thinner than this, and drop by less from one side to the other (3 degrees)
ROUGH = 0.85  # of the step from pixel to pixel (squared) in white noise: a digit of 8 x 8 has 0.5 to 0.85, others less
SPECK = 0.05  # of the size of a digit's largest part: what is smaller is dust
PEN = 2.6  # pixels of its 20 x 20 box that strokes are brought to: MNIST's have 2.8, but thinner ones keep loops open
# A 28 x 28 image times these gives its mass and its moments in y and x; the middle of a pixel is at + 0.5. It is
# multiplied by einsum: BLAS takes memory of its own at first, and ends the process where MAX_MEMORY leaves none.
MOMENTS = np.array([np.ones((SIZE, SIZE)), *(np.indices((SIZE, SIZE)) + 0.5)], np.float32).reshape(3, PIXELS)


is_own_process = False  # or a program's that has imported us


class InputError(ValueError):
    """Something given to us that cannot be used. The text is for the user: WHAT: WHY, and what to do."""


# One picture.


def read_image(path):
    """Return the picture at `path` (or a PIL.Image) as MNIST would have it: (784,) uint8, 0 = paper, 255 = full ink.

    Raises InputError, whose text is the reason alone, if it can't be read, or if there is no digit in it or several.
    """
    with open_image(path, 2 * VIEW) as picture:
        if picture.size == (SIZE, SIZE) and picture.mode == "L" and "exif" not in picture.info:  # no camera's, turned
            pixels = np.asarray(picture).flatten()
            if looks_like_mnist(pixels):
                return pixels
        return centred(with_mnist_pen(find_digit(made_small(picture))))


@contextlib.contextmanager
def open_image(path, side):
    """Open the picture at `path`, or take a PIL.Image as it is. Raises InputError, whose text is the reason alone.

    That holds for the whole block, as a picture is only decoded when it is used. A JPG is decoded at 1/2, 1/4 or 1/8 of
    its size where that leaves `side` pixels, as a phone's has a hundred times what is needed.
    """
    try:
        if isinstance(path, Image.Image):
            yield path
        else:
            with open_file(path) as file:
                yield decoder(file, side)
    except InputError:
        raise
    except Exception as error:  # on a broken file Pillow's decoders raise nearly anything
        if isinstance(error, MemoryError) or "error -9" in str(error):  # Pillow's number for the same
            raise InputError(TOO_LARGE) from error
        reason = getattr(error, "strerror", None)  # the system's, where there is no such file
        raise InputError(reason or f"broken picture ({str(error)[:120] or type(error).__name__})") from error


def open_file(path):
    """Return a file opened for binary reading. Raises InputError where it cannot be a picture."""
    status = os.stat(path)
    if stat.S_ISDIR(status.st_mode):
        raise InputError("a folder, not a picture")
    if not stat.S_ISREG(status.st_mode):  # to open a pipe is to wait for it
        raise InputError("not a regular file")
    if status.st_size > MAX_FILE:
        raise InputError(f"{status.st_size / 1e6:,.0f} MB: {TOO_LARGE}")
    return open(path, "rb")


def decoder(file, side):
    """Return the picture in a file (PIL.Image), not yet decoded. Raises InputError where it should not be."""
    head = file.read(16)
    file.seek(0)
    if not head:
        raise InputError("empty file")
    try:
        # Pillow's own limit would count all pixels of a JPG, and few of them are decoded
        jpg = head.startswith(b"\xff\xd8\xff")
        picture = JpegImageFile(file) if jpg else Image.open(file, formats=tuple(FORMATS))
    except (UnidentifiedImageError, SyntaxError, KeyError) as error:  # KeyError: this Pillow lacks one of FORMATS
        names = [name for name, start in OTHER_FORMATS.items() if re.match(start, head, re.DOTALL)]
        reason = f"{names[0]}, which is not read here" if names else "not a picture that can be read"
        raise InputError(f"{reason}: save it as JPG or PNG") from error
    whole = picture.width * picture.height
    picture.draft(None, (side, side))
    # Of a progressive JPG all is kept until the last scan, in 16 bits
    decoded = 1.5 * whole if "progressive" in picture.info else picture.width * picture.height
    if decoded > 1e6 * FORMATS[picture.format]:
        raise InputError(f"{whole / 1e6:,.0f} megapixels: {TOO_LARGE}")
    return picture


def thumbnail(path, size):
    """Return the picture at `path` as a person sees it: an RGB PIL.Image, at most `size` pixels wide and high."""
    with open_image(path, 2 * size) as image:
        image = made_small(image).convert("RGB")
        longest = max(image.size)
        return image.resize([max(4, round(size * side / longest)) for side in image.size])  # a hairline can't be seen


def looks_like_mnist(pixels):
    """Are they, (784,) uint8, in place already: light ink on dark, 14 to 20 pixels long, centred by mass, in greys?

    So are all 70,000 of MNIST's. JPG has dirtied their grounds: what is below 16, or for the length 64, is not counted.
    """
    solid = pixels.reshape(SIZE, SIZE) > 64
    rows, columns = solid.any(axis=1).nonzero()[0], solid.any(axis=0).nonzero()[0]
    if not len(rows) or not 14 <= max(rows[-1] - rows[0], columns[-1] - columns[0]) + 1 <= 20:
        return False
    mass, y, x = np.einsum("mp,p", MOMENTS, pixels * (pixels > 16)).tolist()
    in_place = 13.8 * mass < y < 15.2 * mass and 13.8 * mass < x < 15.2 * mass
    return in_place and ((pixels > 0) & (pixels < 255)).any()


def made_small(picture):
    """Return any picture as L or RGB, the right way up, on an opaque ground, fewer than 4 VIEW pixels long."""
    orientation = picture.getexif().get(ExifTags.Base.Orientation)
    step = -(-max(picture.size) // (8 * VIEW))
    if step > 1 and picture.mode in ("L", "RGB", "CMYK", "F"):
        picture = picture.reduce(step)
    elif step > 1:  # only every so many pixels, as all would take too much memory in the mode that can be averaged
        picture = picture.resize([-(-side // step) for side in picture.size], Image.Resampling.NEAREST)
    factor = max(1, max(picture.size) // (2 * VIEW))  # to average spares the hairlines
    if picture.mode[0] in "IF":  # 16 or 32 bits a pixel, of which a scanner uses what it likes
        values = np.nan_to_num(np.asarray(picture, np.float32), nan=0, posinf=0, neginf=0).clip(-1e30, 1e30)
        values = np.asarray(Image.fromarray(values).reduce(factor))
        small = Image.fromarray(((values - values.min()) * (255 / max(np.ptp(values), 1e-30))).astype(np.uint8))
    elif picture.has_transparency_data and (clear := picture.convert("RGBA")).getextrema()[3][0] < 255:
        clear = clear.reduce(factor)
        for page in ("white", "black"):
            small = Image.alpha_composite(Image.new("RGBA", clear.size, page), clear).convert("RGB")
            if small.convert("L").getextrema()[0] <= 127:  # ink that is nowhere dark on white is meant for a dark page
                break
    else:
        small = picture.convert("L" if picture.mode in ("1", "L") else "RGB").reduce(factor)
    small.getexif()[ExifTags.Base.Orientation] = orientation
    return ImageOps.exif_transpose(small)


def find_digit(picture, looks=3):
    """Return how dark the digit in an L or RGB picture is: (height, width) float32, 0 = paper, above 1 = ink.

    All else is taken away. What is small, or stands in a frame or on a sheet, is looked at again from nearby.
    """
    scale = -(-max(picture.size) // VIEW)
    view = picture.reduce(scale)
    # Yellow ink is dark in blue only, red ink in green and blue
    darkness = without_paper(max(view.split(), key=lambda channel: np.std(channel, dtype=np.float32)))
    if max(view.size) > SMALL:
        darkness = darkness - np.maximum(lines(darkness), lines(darkness.T).T)
    strong, weak = thresholds(darkness)
    part, size = parts(darkness > weak)
    largest = filter(None, size.argsort()[:-4:-1] if looks else ())
    inside = next(filter(None, (inside_frame(part == number) for number in largest)), None)
    if not inside:
        digit = one_digit(part, size, darkness > strong)
        left, top, right, bottom = bounds(digit)
        side = max(right - left, bottom - top)
        if looks and scale > 1 and side < max(view.size) / 4:
            margin = max(side // 4, 2)
            inside = left - margin, top - margin, right + margin, bottom + margin
    if inside:
        return find_digit(picture.crop(np.clip(np.multiply(inside, scale), 0, picture.size * 2).tolist()), looks - 1)
    return np.where(grown(digit, 1), darkness / weak, 0)[max(0, top - 1) : bottom + 1, max(0, left - 1) : right + 1]


def without_paper(channel):
    """Return how much of the paper's light each pixel lacks, (height, width) float32: 0 = paper, 1 = black."""
    values, (least, most) = np.asarray(channel, np.float32), channel.getextrema()
    if least == most:
        raise InputError(NO_DIGIT)
    small = max(channel.size) <= SMALL
    between = np.abs(2 * values - least - most) < (most - least) / 3
    plain = most - least > 127 and between.mean() < (2 * FLAT if small else FLAT)
    # Ink is the minority, seen from the border, which counts most where the blur is as wide as the picture.
    around = channel.filter(ImageFilter.BoxBlur(max(channel.size) // (1 if plain else 6)))
    shade = values - np.asarray(around, np.float32)
    square = shade * shade
    variance = square.mean() + 1e-6
    skew, kurtosis = (square * shade).mean() / variance**1.5, (square * square).mean() / variance**2
    # Noise has a skew of 0.1, in small pictures more by chance, digits have 1 to 6, as ink only darkens. What is half
    # ink has none either, but two greys have the least kurtosis there is, skew^2 + 1.
    if not plain and abs(skew) < 0.15 + 6 / max(channel.size) and skew**2 + 1 < 0.75 * kurtosis:
        raise InputError(NO_DIGIT)
    if skew > 0:
        channel, values, least, most = ImageOps.invert(channel), 255 - values, 255 - most, 255 - least
    if plain:
        paper = np.median(values[2 * values > least + most])
        values = np.minimum(values, paper)
    else:
        paper = closed(channel)
    darkness = (paper - values) / np.maximum(paper, 32)
    steps = darkness[1:] - darkness[:-1], darkness[:, 1:] - darkness[:, :-1]
    if sum((step * step).sum() for step in steps) > ROUGH * 4 * darkness.var() * darkness.size:
        raise InputError(NO_DIGIT)
    return darkness


def closed(channel):
    """Return the light of the paper under the ink, (height, width) float32. A shadow dims paper and ink alike.

    The paper is a closing: the lightest cell of 4 x 4 pixels around, and then the darkest of those. That fills strokes
    in, but keeps the edges of shadows. In between the cells are continued over the border as they run: light that
    falls off there is no ink.
    """
    lightest = np.asarray(channel.reduce(4).filter(ImageFilter.MaxFilter(STROKE)), np.int16)
    reach = min(STROKE // 2, min(lightest.shape) - 1)
    lightest = np.pad(lightest, reach, mode="reflect", reflect_type="odd").clip(0, 255).astype(np.uint8)
    paper = ImageOps.crop(Image.fromarray(lightest).filter(ImageFilter.MinFilter(STROKE)), reach)
    paper = paper.filter(ImageFilter.GaussianBlur(1)).resize(channel.size, Image.Resampling.BICUBIC)
    return np.asarray(paper, np.float32)


def lines(darkness):
    """Return how dark the lines of ruled and squared paper are, (height, width) float32: thin, from edge to edge.

    Such a line, and no stroke, is dark in each sixteenth of the width. Of all slopes the one that shows most is right.
    """
    height, width = darkness.shape
    pieces = np.asarray(Image.fromarray(darkness).resize((16, height), Image.Resampling.BOX)).clip(0)
    if min(height, width) < 32 or pieces.max(axis=0).min() < FAINT:
        return np.zeros_like(darkness)
    pieces = np.pad(pieces, ((RULE + 2, RULE + 2), (0, 0)))
    pieces = np.lib.stride_tricks.sliding_window_view(pieces, 3, axis=0).max(axis=2)  # a line may lie between rows
    drops, rows = np.arange(-RULE, RULE + 1)[:, np.newaxis], np.arange(len(pieces))[:, np.newaxis]
    at = np.round(drops * ((np.arange(16) + 0.5) / 16 - 0.5)).astype(int)  # (drops, 16)
    sheared = pieces[(rows + at[:, np.newaxis]).clip(0, len(pieces) - 1), np.arange(16)]  # (drops, rows, 16)
    line = sheared.min(axis=2)  # how dark each line is where it is lightest
    best = (line**2).sum(axis=1).argmax()
    beside = np.maximum(np.roll(sheared[best], 4, axis=0), np.roll(sheared[best], -4, axis=0))
    line = (line[best] - np.median(beside, axis=1)).clip(0)  # what is thicker is no line
    slope = np.round(drops[best] * (np.arange(width) / width - 0.5)).astype(int)
    return 1.3 * line[RULE + 1 + np.arange(height)[:, np.newaxis] - slope]


def thresholds(darkness):
    """Return the darkness above which there is ink for certain, and that for each pixel, (height, width) float32.

    The first is halfway between paper and ink, which are split where they vary least on either side (Otsu 1979), but
    never within the noise. Half of it is enough for a faint stroke, 1.5 times as dark as the average around it.
    """
    levels = Image.fromarray(np.uint8(255 * darkness.clip(0, 1)))
    count = np.array(levels.histogram())
    below, sums = count.cumsum(), (count * np.arange(256)).cumsum()
    above = below[-1] - below
    paper, ink = sums / np.maximum(below, 1), (sums[-1] - sums) / np.maximum(above, 1)
    at = (below * above * (ink - paper) ** 2).argmax()
    noise = np.median(np.append(darkness[darkness <= 0], 0))  # of the paper's lighter side, where there is no ink
    least = max(-6 * noise, FAINT)  # 6 of these are 4 standard deviations
    strong = max((paper[at] + ink[at]) / 2 / 255, least)
    around = np.asarray(levels.filter(ImageFilter.BoxBlur(max(darkness.shape) / 24)), np.float32) / 255
    return strong, np.clip(1.5 * around, max(strong / 2, least), strong)


def one_digit(part, size, certain):
    """Return the ink of the digit (bool), given the parts of the ink, their sizes and where there is ink for certain.

    It is the part largest and nearest the middle, and what belongs to it: no specks, nothing faint outside, and
    nothing that comes in over the border, as neighbours' strokes do, unless the main part touches it too. Raises
    InputError where that is no digit, or several: side by side, of similar height, with a gap between.
    """
    inward = [np.minimum(np.arange(n) + 0.5, n - np.arange(n) - 0.5) / n for n in part.shape]
    weight = np.bincount(part.ravel(), (np.outer(*inward) * certain).ravel())
    rim = np.zeros(len(size), bool)
    rim[np.concatenate([part[0], part[-1], part[:, 0], part[:, -1]])] = True
    main = np.where(rim, weight / 10, weight).argmax()
    if not main:
        raise InputError(NO_DIGIT)
    keep = (size >= SPECK * size[main]) & (rim <= rim[main])
    large = (size > size[keep].max() / 5) & (rim <= rim[main])
    left, top, right, bottom = bounds((keep & (weight > 0))[part])
    outside = part.copy()
    outside[top:bottom, left:right] = 0
    keep[outside[weight[outside] == 0]] = False
    ink = large[part]
    columns = np.flatnonzero(ink.any(axis=0))
    gaps = np.diff(columns, append=columns[-1])
    cut = columns[gaps.argmax()] + 1
    if gaps.max() > 1 + (bottom - top) // 12:
        heights = [np.ptp(np.flatnonzero(half.any(axis=1))) + 1 for half in (ink[:, :cut], ink[:, cut:])]
        if min(heights) > 0.6 * max(heights):
            raise InputError(SEVERAL)
    return keep[part]


def parts(ink):
    """Return the connected parts of the ink, numbered from 1 (0 is paper), and the size of each (0 for the paper).

    Each pixel leads to the farthest one around it, and then to where that one leads, until all of a part lead to one.
    """
    flat, row = np.pad(ink, 1).ravel(), ink.shape[1] + 2
    spots, itself = np.flatnonzero(flat), np.arange(flat.size)
    around = spots + np.add.outer([-row, 0, row], [-1, 0, 1]).reshape(9, 1)  # (9, pixels of ink)
    goal, here, last = itself * flat, spots, None
    while not np.array_equal(here, last):
        last = here
        goal[spots] = goal[around].max(axis=0)
        goal[spots] = here = goal[goal[spots]]
    part = np.cumsum(flat & (goal == itself))[goal]
    size = np.bincount(part)
    size[0] = 0
    return part.reshape(-1, row)[1:-1, 1:-1], size


def inside_frame(part):
    """Return the box inside of a frame or a sheet, as bounds does, or None. It has straight edges on all four sides."""
    left, top, right, bottom = bounds(part)
    part, edges = part[top:bottom, left:right], []
    if min(part.shape) < max(part.shape) / 3:  # a bar
        return None
    for side in (part, part.T, part[:, ::-1], part.T[:, ::-1]):  # as seen from the left, the top, the right, the bottom
        strip = side[:, : max(1, side.shape[1] // 10)]
        if strip.any(axis=1).mean() < 0.9:
            return None
        edges.append(1 + max(np.flatnonzero(strip.mean(axis=0) > 0.25), default=0) + 1)  # and a pixel of blur
    box = left + edges[0], top + edges[1], right - edges[2], bottom - edges[3]
    return box if box[2] - box[0] > 3 and box[3] - box[1] > 3 else None


def bounds(ink):
    """Return the left, top, right and bottom of the ink, as Pillow counts them."""
    rows, columns = (np.flatnonzero(ink.any(axis)) for axis in (1, 0))
    if not len(rows):
        raise InputError(NO_DIGIT)
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def grown(ink, radius):
    """Return the ink (bool) with all that is within a square of `radius` pixels around it."""
    return np.asarray(Image.fromarray(255 * np.uint8(ink)).filter(ImageFilter.BoxBlur(radius))) > 0


def with_mnist_pen(darkness):
    """Return the ink in the darkness (bool), about 80 pixels long, its pen made about as wide as MNIST's.

    What is small is enlarged before it is cut into ink and paper, lest it show steps. A thin pen is grown to MNIST's
    width, a thick one shrunk half the way, lest it break.
    """
    longest = max(darkness.shape)
    darkness = np.pad(darkness, 2 + longest // 8)
    size = [round(side * 80 / longest) for side in darkness.shape[::-1]]
    ink = np.asarray(Image.fromarray(darkness).resize(size, Image.Resampling.BICUBIC)) > 1
    left, top, right, bottom = bounds(ink)
    side = max(right - left, bottom - top)
    # The strokes' area is length x width, their outline twice the length, counted in steps: on a slope 4 / pi too many
    outline = np.count_nonzero(ink[1:] != ink[:-1]) + np.count_nonzero(ink[:, 1:] != ink[:, :-1])
    width = 2 * np.count_nonzero(ink) / (np.pi / 4 * outline)
    change = (PEN * side - 20 * width) / (20 - PEN) / 2  # (width + 2 change) / (side + 2 change) = PEN / 20
    steps = round(change if change > 0 else change / 2)
    thin = steps < 0
    picture = Image.fromarray(np.uint8(255 * (ink ^ thin)))
    for step in range(abs(steps)):  # in turn the 4 neighbours and all 8, nearly a disc; sums above 255 are cut off
        near = [1] * 9 if step % 2 else [0, 1, 0, 1, 1, 1, 0, 1, 0]
        picture = picture.filter(ImageFilter.Kernel((3, 3), near, scale=1))
    changed = (np.asarray(picture) > 0) ^ thin
    return changed if changed.any() else ink


def centred(ink):
    """Return ink (bool) as (784,) uint8 in the way MNIST was made, as Yadav & Bottou 2019 found: area-averaged into a
    box of 20 x 20, the brightest pixel 255, the centre of mass in pixel 14.
    """
    box = bounds(ink)
    width, height = box[2] - box[0], box[3] - box[1]
    size = [max(1, round(20 * side / max(width, height))) for side in (width, height)]
    digit = np.asarray(Image.fromarray(ink).convert("L").resize(size, Image.Resampling.BOX, box), np.float32)
    pixels = np.zeros((SIZE, SIZE), np.uint8)
    pixels[: size[1], : size[0]] = (digit * (255 / digit.max())).round()
    mass, *moments = np.einsum("mp,p", MOMENTS, pixels.ravel())
    down, right = (np.clip(int(15 - moment / mass), 0, SIZE - side) for moment, side in zip(moments, digit.shape))
    return np.roll(pixels, (down, right), axis=(0, 1)).ravel()


# Many pictures.


def read_images(paths):
    """Yield what is read of `paths`, in order, some at a time: lists of (path, pixels) or, where that fails,
    (path, reason): (784,) uint8, or str. A None among the paths says that the next may be long in coming.

    After 0.1 s of work, about what a worker takes to start, up to 4 are started (more would take more than 1 GB of
    memory for the largest pictures). A worker is a Python of its own that answers what comes through its standard
    input. It cannot outlive us, for it ends with that input, and being in a session of its own it does not hear the
    terminal's Ctrl-C: multiprocessing promises neither, and imports the caller's script once more in each worker.
    """
    paths, count, start = iter(paths), 0, time.process_time()
    for path in (path for path in paths if path is not None):
        with caged():
            answer = try_image(path)
        yield [answer]
        count += 1
        if time.process_time() - start > 0.1:
            break
    workers, idle, busy = [], [], deque()
    try:
        for batch in in_batches(paths, min(count, 64)):  # of 0.1 s, so that answers keep coming
            if batch and not idle and len(workers) < min(os.cpu_count() or 1, 4):
                workers.append(start_worker())
                idle.append(workers[-1])
            while busy and not (batch and idle):
                yield pickle.load(busy[0].stdout)
                idle.append(busy.popleft())
            if batch:
                worker = idle.pop()
                pickle.dump(batch, worker.stdin)
                worker.stdin.flush()
                busy.append(worker)
    except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
        raise InputError("a process that reads pictures died: is there memory enough?") from error
    finally:
        for worker in workers:
            worker.kill()
            worker.communicate()


def in_batches(paths, size):
    """Yield lists of at most `size` paths, and [] at the end and at a None, where the next may be long in coming."""
    batch = []
    for path in paths:
        if path is not None:
            batch.append(path)
        if path is None or len(batch) == size:
            yield batch
            batch = []
        if path is None:
            yield batch
    yield from (batch, [])


def try_image(path):
    """Return (path, pixels) or, where the picture cannot be read, (path, reason): (784,) uint8, or str."""
    try:
        return path, read_image(path)
    except InputError as error:
        return path, str(error)


@contextlib.contextmanager
def caged():
    """Keep what reads a picture in the block from filling the memory, and from writing to stderr past Python (libtiff).

    After MAX_MEMORY bytes it meets a MemoryError, where the system sees to that: on Linux. As both change the process,
    that is done in our own only, the commands and their workers.
    """
    if not is_own_process:
        yield
        return
    limit, stderr, nowhere = None, os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    with contextlib.suppress(ImportError, OSError, ValueError):
        import resource

        with open("/proc/self/statm") as pages:
            now = int(pages.read().split()[5]) * resource.getpagesize()
        limit = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (now + MAX_MEMORY, limit[1]))
    try:
        yield
    finally:
        if limit:
            resource.setrlimit(resource.RLIMIT_DATA, limit)
        os.dup2(stderr, 2)
        os.close(stderr)
        os.close(nowhere)


def start_worker():
    """Start a Python that does work(), and return it (subprocess.Popen)."""
    folder = os.path.dirname(os.path.abspath(__file__))
    return subprocess.Popen(
        [sys.executable, "-c", f"import sys; sys.path[0] = {folder!r}; import data_tocsv; data_tocsv.work()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,  # where libtiff may write, past Python
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},  # it multiplies no matrices: no threads' memory for that
        start_new_session=True,
    )


def work():
    """Answer each list of paths on standard input with try_image's results on standard output, to the end."""
    global is_own_process
    is_own_process = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Windows there are no sessions
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library may print is no answer
    with caged(), contextlib.suppress(EOFError, BrokenPipeError):
        while True:
            pickle.dump(list(map(try_image, pickle.load(sys.stdin.buffer))), answers)
            answers.flush()


def walk(folder, above=()):
    """Yield the path (str) of every file in `folder` and its sub-folders, in natural order.

    A link that leads back to a folder above (`above` has their inodes and devices) is passed over. A folder that cannot
    be listed is itself yielded: read_image will say why.
    """
    try:
        here = os.stat(folder)[1:3]
        if len(above) == 200:  # much deeper, Python's own stack would end
            raise OSError
        entries = [] if here in above else list_folder(folder)
    except OSError:
        yield folder
        return
    for entry in entries:
        if os.path.isdir(entry.path):
            yield from walk(entry.path, (*above, here))
        else:
            yield entry.path


def list_folder(folder):
    """Return the entries of `folder` (os.DirEntry), "2.jpg" before "10.jpg"; hidden files and Windows' own left out."""

    def natural(entry):
        parts = re.split("([0-9]+)", entry.name)  # text, number, text, number ... text
        parts[1::2] = map(int, parts[1::2])
        return parts, entry.name

    with os.scandir(folder) as entries:
        return sorted(
            (e for e in entries if e.name[0] != "." and e.name.lower() not in ("thumbs.db", "desktop.ini")), key=natural
        )


def label_of(path):
    """Return the digit that the folder above the picture is named after (int), or None."""
    name = os.path.basename(os.path.dirname(path))
    return int(name) if name in DIGITS else None


# CSV files.


ROW = np.dtype([("row", np.uint8, 1 + PIXELS)])
TEXTS = np.array([f"{value}," for value in range(256)], "S4")  # the text of every value, filled up with zero bytes
LAST_TEXTS = np.array([f"{value}\n" for value in range(256)], "S4")
VALUES = set(map(str, range(256)))
MAX_LINE = 10_000  # characters, more than any row or header has: a line without an end is not to fill the memory


def to_csv(rows):
    """Return `rows` ((n, 785) uint8: label, then pixels) as CSV text (bytes).

    Every value is looked up in a table of texts of 4 bytes, and the bytes that fill the short ones up are taken out
    in the end: this formats 10,000 rows while np.savetxt does 1,000.
    """
    cells = TEXTS[rows]  # (n, 785) S4
    cells[:, -1] = LAST_TEXTS[rows[:, -1]]
    return cells.tobytes().translate(None, b"\0")


def read_csv(path):
    """Return the labels and the pixels in a CSV file: (n,) uint8 of 0 to 9, and (n, 784) uint8.

    Raises InputError with the number of the first line that is wrong, or where there is no such file or no row in it.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # loadtxt warns of an empty file, and of 1.0 where 1 should be
            rows = np.loadtxt((line for _, line in lines_of(path)), ROW, delimiter=",", comments=None, ndmin=1)["row"]
        if (rows[:, 0] > 9).any():
            raise ValueError("a label that is no digit")
    except FileNotFoundError as error:
        raise InputError(f"{path}: no such file: run data_tocsv.py first") from error
    except (ValueError, Warning) as error:
        raise InputError(f"{path}: {first_fault(path)}") from error
    return rows[:, 0], rows[:, 1:]


def lines_of(path):
    """Yield the number and the text of each row in a CSV file: no blank lines, and no header (Kaggle's "label,...")."""
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(iter(lambda: file.readline(MAX_LINE), ""), 1):
            if not (line.isspace() or number == 1 and line.lower().startswith("label")):
                yield number, line


def first_fault(path):
    """Say which line of a CSV file is the first that read_csv does not take, and why."""
    for number, line in lines_of(path):
        cells = [cell.strip() for cell in line.split(",")]
        if len(line) == MAX_LINE:
            return f"line {number}: longer than {MAX_LINE:,} characters: not a row of 785 numbers"
        if len(cells) != 1 + PIXELS:
            return f"line {number}: {len(cells)} values, not 785 (label,p0,...,p783)"
        for column, cell in enumerate([] if VALUES.issuperset(cells) else cells, 1):
            if cell[:-1].lstrip("0") + cell[-1:] not in VALUES:  # 007 is 7
                return f"line {number}: value {column} is {cell[:20]!r}, not a whole number from 0 to 255"
        if int(cells[0]) > 9:
            return f"line {number}: the label is {cells[0]}, not 0 to 9"
    return "no rows in it: run data_tocsv.py again"


# The shell: what the three scripts share.


def run(main):
    """Run a script's main() and exit with the status that it returns; an error becomes one line, and status 2."""
    global is_own_process
    is_own_process, last = True, -1

    def stop(number, _frame):
        nonlocal last
        before, last = last, time.monotonic()
        if before < last - 1:  # a second one at once would stop the tidying up
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)

    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # Ctrl-C, kill, and the end of the terminal; Windows lacks the last
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) != signal.SIG_IGN:  # nohup
            signal.signal(number, stop)
    while os.open(os.devnull, os.O_RDWR) < 3:  # where 0, 1 or 2 is closed, a file of ours would take its place
        pass
    names = {"encoding": "utf-8", "errors": "surrogateescape"}  # a file's name may be any bytes
    sys.stdout, sys.stderr = open(1, "w", **names), open(2, "w", buffering=1, **names)  # noqa: SIM115
    warnings.simplefilter("ignore")  # Pillow's, of files that are odd and can be read
    status = 2
    try:
        status = main()
    except SystemExit as end:
        status = end.code
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BrokenPipeError:  # who reads the answers (head, say) has had enough
        status = 0
    except (InputError, MemoryError) as error:
        complain(str(error) or "not enough memory")
    except OSError as error:
        complain(f"{error.filename or 'standard output'}: {error.strerror or error}")
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    os._exit(status)  # the interpreter would flush once more, and after a second Ctrl-C wait for a lost thread


class Parser(argparse.ArgumentParser):
    """argparse, with the help's examples as they are written, and errors of one line."""

    def __init__(self, **options):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)
        self.add_argument("-q", "--quiet", action="store_true", help="no progress and no summary on stderr")

    def error(self, message):
        raise InputError(f"{message}: see {self.prog} -h")


@contextlib.contextmanager
def replacing(path, inputs=(), mode="xb", **options):
    """Open a new file that takes the place of `path` once the block has ended without an error.

    So a reader sees the old file or the new one, whole. Raises InputError where `path` is no file or one of `inputs`,
    which are read, and OSError where it cannot be written.
    """
    target = os.path.realpath(path)  # a link stays, what it leads to is replaced
    if target in map(os.path.realpath, inputs):
        raise InputError(f"{path}: named twice: give another name")
    if os.path.exists(target) and not os.path.isfile(target):
        raise InputError(f"{path}: not a file that can be replaced: give another name")
    folder, name = os.path.split(target)
    if not os.path.exists(folder):
        raise InputError(f"{path}: there is no such folder: make it first")
    new = os.path.join(folder, f".{name}.{os.urandom(4).hex()}.new")
    try:
        with open(new, mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())  # the data is on the disk before the name is
        with contextlib.suppress(OSError):  # there may be none
            shutil.copymode(target, new)
        os.replace(new, target)
    except OSError as error:
        if error.filename in (None, new):  # that the disk is full is told without a name
            error.filename = path
        raise
    finally:
        with contextlib.suppress(OSError):
            os.unlink(new)


def progress(items, quiet, **options):
    """Return `items` wrapped in a tqdm progress bar, where stderr is a terminal and tqdm is installed."""
    if quiet or not sys.stderr.isatty():
        return items
    try:
        from tqdm import tqdm
    except ImportError:
        return items
    return tqdm(items, leave=False, dynamic_ncols=True, **options)


def put(text, needed=True):
    """Write text to stdout at once. That nobody reads it any more is an error if it is needed, a full disk always."""
    try:
        print(text, end="", flush=True)
    except BrokenPipeError:
        if needed:
            raise
    except OSError as error:
        raise InputError(f"standard output: {error.strerror}") from error


def say(message, quiet=False):
    """Write one line to stderr, above the progress bar if there is one."""
    tqdm = sys.modules.get("tqdm")
    if not quiet:
        with contextlib.suppress(OSError):  # where nobody listens, the work goes on
            (tqdm.tqdm.write if tqdm else print)(one_line(message), file=sys.stderr)


def complain(message):
    """Say what is wrong, after the script's name."""
    say(f"{os.path.basename(sys.argv[0])}: error: {message}")


def one_line(text):
    r"""Return `text` with escapes (\t, \n, \x1b, \u202e) for what a terminal would obey: a file's name may hold any."""
    obeyed = r"[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]"  # control and direction of writing
    return re.sub(obeyed, lambda match: repr(match[0])[1:-1], str(text))


# The command.


def find_pictures(folder, word):
    """Return the paths of a folder's training (or testing) pictures: by digit, then by name, 2 before 10.

    They are in the sub-folders 0 to 9 of a sub-folder in whose name a word begins with "train" (or "test"), as it does
    after all but a small letter, or with a capital: trainingSet, mnistTest, latest_train. None is needed.
    """
    begins = re.compile(f"(?<![a-z])(?i:{word})|{word.title()}")
    parts = [e.path for e in list_folder(folder) if os.path.isdir(e.path) and begins.search(e.name)]
    if len(parts) > 1:
        raise InputError(f'{folder}: more than one sub-folder with "{word}" in its name: {", ".join(parts)}')
    paths = []
    for part in parts:
        missing = [digit for digit in DIGITS if not os.path.isdir(os.path.join(part, digit))]
        if missing:
            raise InputError(f"{part}: no sub-folder {', '.join(missing)}: the pictures must be in sub-folders 0 to 9")
        paths = [entry.path for digit in DIGITS for entry in list_folder(os.path.join(part, digit))]
    return paths


def write_rows(file, pictures):
    """Write the pictures that can be read to a CSV file (open for binary writing), and return how many they are."""
    count = 0
    for results in read_images(pictures):
        labels, pixels = [], []
        for path, result in results:
            if isinstance(result, str):
                complain(f"{path}: {result}")
            else:
                labels.append(label_of(path))
                pixels.append(result)
        if labels:
            file.write(to_csv(np.column_stack([np.uint8(labels), pixels])))
        count += len(labels)
    return count


def main(argv=None):
    """Convert folders of digit pictures, and return the exit status: 0, or 1 if some could not be read."""
    parser = Parser(
        description="Turn folders of digit pictures into train_images.csv and test_images.csv.",
        epilog="FOLDER holds a sub-folder with train in its name, one with test, or both, and each of these the\n"
        "sub-folders 0 to 9. Of several FOLDERs the rows follow one another.\n"
        "A row is label,p0,...,p783: 28 x 28 pixels, row by row, 0 = background, 255 = full ink.\n\n"
        "examples: python data_tocsv.py datasets/sample\n"
        "          python data_tocsv.py datasets/mnist my_digits",
    )
    default = "default: datasets/mnist if it exists, else datasets/sample"
    parser.add_argument("folders", nargs="*", metavar="FOLDER", help=default)
    parser.add_argument("-o", "--output", default="datasets", metavar="DIR", help="where to write (default: datasets)")
    args = parser.parse_args(argv)

    folders = args.folders or ["datasets/mnist" if os.path.isdir("datasets/mnist") else "datasets/sample"]
    sources = {word: [find_pictures(folder, word) for folder in folders] for word in ("train", "test")}
    for folder, *found in zip(folders, *sources.values()):
        if not any(found):
            raise InputError(f"{folder}: no pictures there: name a folder that holds training/0 to 9 or testing/0 to 9")
    for word, source in sources.items():
        if not any(source):
            where = f"put some into {folders[0]}/{word}ing/0 to 9"
            raise InputError(f'{", ".join(folders)}: no pictures in a sub-folder with "{word}" in its name: {where}')
    targets = [os.path.join(args.output, os.path.basename(csv)) for csv in (TRAIN_CSV, TEST_CSV)]
    status, told = 0, []
    with contextlib.ExitStack() as stack:  # both files are replaced, or none
        files = [stack.enter_context(replacing(target)) for target in targets]
        for target, file, source in zip(targets, files, sources.values()):
            paths = sum(source, [])
            count = write_rows(file, progress(paths, args.quiet, desc=os.path.basename(target), unit=" pictures"))
            if not count:
                raise InputError(f"{target}: not written: none of the {len(paths):,} pictures can be read")
            if count < len(paths):
                status = 1
            shares = ", ".join(f"{folder} ({len(found):,})" for folder, found in zip(folders, source))
            told.append(f"{target}: {count:,} rows from {shares}")
        for file in files:  # what a full disk refuses shows before the first is replaced
            file.flush()
    options = "" if args.output == "datasets" else f" --train {targets[0]} --test {targets[1]}"
    if sum(map(len, sources["train"])) < 30_000:  # of fewer pictures it takes more epochs to learn as much
        options += " --epochs 200"
    for line in [*told, f"next: python train_network.py{options}"]:
        say(line, args.quiet)
    return status


if __name__ == "__main__":
    run(main)
