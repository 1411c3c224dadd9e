"""Read handwritten digits in pictures with a trained network.

From the shell, `python predict.py 7.jpg` prints 7; from Python, `predict("7.jpg")` returns 7. A folder gives one answer
for each picture in it.
"""

import os

if __name__ == "__main__":  # before NumPy is imported
    os.environ.update(OPENBLAS_NUM_THREADS="1", VECLIB_MAXIMUM_THREADS="1")  # the matrices are small
    from data_tocsv import run  # the first import: it says what to do where NumPy is missing

import contextlib
import heapq
import re
import sys
import textwrap
import unicodedata
from collections import Counter
from itertools import islice, product

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from data_tocsv import InputError, label_of, log, make_parser, open_image, progress, read_images, replacing, say, walk
from train_network import NETWORK, classify, load_network

BATCH = 32  # pictures that are read and classified at a time
ON_SHEET = 300  # pictures
TILE = 180, 136  # pixels on the sheet for each picture


def predict(path, network=None):
    """Return the digit in a picture (int), or for a folder a list of digits, None where a picture cannot be read.

    path: a picture's path, a PIL.Image, or a folder's path (sub-folders included, in natural order); network: path of
    an npz file, by default network.npz in the current folder or beside this script. Raises InputError (a ValueError) if
    the network or the single picture cannot be read.
    """
    if not isinstance(path, (str, os.PathLike, Image.Image)):
        raise TypeError(f"predict() takes a path or a PIL.Image, not {type(path).__name__}")
    if not isinstance(path, Image.Image) and os.path.isdir(path):
        return [digit for _, digit, _ in predict_folder(path, network)]
    ((_, pixels, p),) = classify_pictures([path], load_network(network or find_network()))
    if p is None:
        raise InputError(f"{'picture' if isinstance(path, Image.Image) else path}: {pixels}")
    return int(p.argmax())


def predict_folder(folder, network=None):
    """Yield (path, digit, confidence) for every picture in a folder and its sub-folders, in natural order.

    confidence: the probability of the digit, 0 to 1. Digit and confidence are None where a picture cannot be read.
    Raises InputError if the network cannot be read, or `folder` is not a folder.
    """
    if not os.path.isdir(folder):
        raise InputError(f"{folder}: not a folder")
    for path, _, p in classify_pictures(walk(folder), load_network(network or find_network())):
        yield (path, None, None) if p is None else (path, int(p.argmax()), float(p.max()))


def find_network():
    """Return the path of network.npz: in the current folder or, if there is none, beside this script."""
    beside = os.path.join(os.path.dirname(os.path.realpath(__file__)), NETWORK)
    return beside if os.path.exists(beside) and not os.path.exists(NETWORK) else NETWORK


def classify_pictures(paths, params, batch=BATCH, quiet=True, **options):
    """Yield, in order, (path, pixels, p) for each picture, or (path, InputError, None) if it cannot be read.

    pixels: (784,) uint8; p: (10,) float32, the probability of each digit; batch: how many are read at a time; options:
    of the progress bar, if not quiet.
    """
    results = iter(progress(read_images(paths, batch), quiet, **options))
    while some := list(islice(results, batch)):
        images = [pixels for _, pixels in some if not isinstance(pixels, InputError)]
        answers = iter(classify(params, np.array(images)).T if images else [])
        for path, pixels in some:
            yield path, pixels, None if isinstance(pixels, InputError) else next(answers)


def is_wrong(path, _, p):
    """Return whether the folder is named after another digit than the answer."""
    return p is not None and label_of(path) not in (None, p.argmax())


# The command.


def find_paths(arguments):
    """Yield the path of every picture: the files in a folder, paths from stdin for "-", or the argument itself."""
    for argument in arguments:
        if argument == "-":
            if b"\0" in sys.stdin.buffer.peek():
                raise InputError("- expects paths, one a line, as UTF-8")
            yield from find_paths(line.rstrip("\r\n") for line in sys.stdin if line.strip() not in ("", "-"))
        elif os.path.isdir(argument):
            yield from walk(argument)
        else:
            yield argument


def rank(path, pixels, p):
    """Return a sort key: wrong answers come first, then unread pictures, then the least confident answers."""
    return not is_wrong(path, pixels, p), p is not None, 0 if p is None else p.max()


def draw_sheet(answers):
    """Return a picture (PIL.Image) of answers, 10 in a row: each as given, as the network saw it, and the answer."""
    sheet = Image.new("RGB", (10 * TILE[0] + 8, -(-len(answers) // 10) * TILE[1] + 8), "lightgrey")
    draw = ImageDraw.Draw(sheet)
    shared = os.path.commonprefix([path for path, _, _ in answers]).rfind(os.sep) + 1  # in folders that all share
    for index, (path, pixels, p) in enumerate(answers):
        x, y = 8 + index % 10 * TILE[0], 8 + index // 10 * TILE[1]
        name = unicodedata.normalize("NFKD", path[shared:].replace(os.sep, "/"))  # accents after their letters
        name = re.sub("[\u0300-\u036f]", "", name).encode("ascii", "replace")  # Pillow's font has no others
        name = repr(name)[2:-1]  # without control characters
        draw.text((x, y + 114), name if len(name) <= 30 else f"{name[:9]}...{name[-18:]}", "grey")
        with contextlib.suppress(ValueError):  # unreadable, or too narrow
            sheet.paste(ImageOps.contain(open_image(path), (112, 112)), (x, y))
        if p is None:
            draw.text((x + 116, y), textwrap.fill(str(pixels), 10, max_lines=8), "red")
            continue
        seen = Image.fromarray(pixels.reshape(28, 28)).resize((56, 56), Image.Resampling.NEAREST)
        sheet.paste(seen, (x + 116, y))
        wrong = is_wrong(path, pixels, p)
        text = f"read {p.argmax()}, is {label_of(path)}" if wrong else str(p.argmax())
        draw.text((x + 116, y + 60), f"{text}\n{p.max():.1%}", "red" if wrong else "black")
    return sheet


def summarize(pairs, unread):
    """Return lines of text on the answers. pairs: Counter of (label, digit); unread: how many were not read."""
    total, right = pairs.total(), sum(count for (label, digit), count in pairs.items() if label == digit)
    note = f", {unread:,} not read" if unread else ""
    if not pairs or any(label is None for label, _ in pairs):
        return [f"{total:,} read{note}"]
    mistakes = [f"{pair[0]} read as {pair[1]} ({count})" for pair, count in pairs.most_common() if pair[0] != pair[1]]
    lines = [f"{right:,} of {total:,} right: {right / total:.2%}{note}"]
    return lines + [f"most common mistakes: {', '.join(mistakes[:5])}"] if mistakes else lines


def parse_args(argv):
    """Return the command's options."""
    parser = make_parser(
        "Read handwritten digits, one in each picture.",
        "One picture gives its digit. A folder, several paths or - give lines of path<TAB>digit<TAB>confidence.\n\n"
        "examples: python predict.py 7.jpg\n"
        "          python predict.py datasets/sample/testing\n"
        "Linux, macOS: find photos -name '*.jpg' | python predict.py -o answers.csv -\n"
        "Windows (cmd): chcp 65001 && dir /s /b photos\\*.jpg | python predict.py -o answers.csv -",
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="picture, folder, or - for paths from stdin, 1 per line")
    add("--network", metavar="NPZ", help="network to use (default: network.npz in this folder, else beside predict.py)")
    add("-o", "--output", type=".csv", metavar="CSV", help="also write path,digit,confidence,p0,...,p9 to this file")
    add("--sheet", type=".png", metavar="PNG", help=f"draw up to {ON_SHEET} pictures and answers, the worst first")
    args = parser.parse_args(argv)
    args.outputs = [path for path in (args.output, args.sheet) if path]
    for path, output in product(args.paths, args.outputs):
        if os.path.isdir(path) and os.path.realpath(output).startswith(os.path.join(os.path.realpath(path), "")):
            raise InputError(f"{output}: is in a folder that is read: write to another folder")
    args.alone = len(args.paths) == 1 and args.paths[0] != "-" and not os.path.isdir(args.paths[0])
    return args


def answer_pictures(args, params, pairs, table):
    """Print the answers, count them in `pairs` (Counter), write them to `table`, if any, and yield them on."""
    older = [path for path in args.outputs if os.path.exists(path)]
    batch = 1 if "-" in args.paths else BATCH  # each path from a pipe is answered when it arrives
    quiet = args.quiet or sys.stdout.isatty()
    for path, pixels, p in classify_pictures(find_paths(args.paths), params, batch, quiet, unit=" pictures"):
        if older and os.path.exists(path) and any(os.path.samefile(path, output) for output in older):
            raise InputError(f"{path}: would be read and overwritten: write to another folder")
        if p is None:
            log(f"{'error: ' if args.alone and not args.outputs else ''}{path or 'empty path'}: {pixels}")
        else:
            fields = [p.argmax()] if args.alone else [path, p.argmax(), f"{p.max():.4f}"]
            say(sys.stdout, *fields, ignore=OSError if args.outputs else ())  # the files must still be written
        if table:
            name = '"' + path.replace('"', '""') + '"' if re.search('[",\r\n]', path) else path
            numbers = 12 * [""] if p is None else [str(p.argmax()), *(f"{x:.6f}" for x in (p.max(), *p))]
            table.write(",".join([name, *numbers]) + "\n")
        pairs[None if p is None else (label_of(path), p.argmax())] += 1
        yield path, pixels, p


def main(argv=None):
    """Print the digits in the pictures given; return 0, or 1 if some had no answer, or 2 if none had."""
    args = parse_args(argv)
    network = args.network or find_network()
    params = load_network(network)
    if network not in (NETWORK, args.network):
        log(f"using {network}", args.quiet)
    pairs, table = Counter(), None
    with contextlib.ExitStack() as stack:  # an error leaves older files as they are
        if args.output:
            text = {"newline": "", "encoding": "utf-8", "errors": sys.getfilesystemencodeerrors()}
            table = stack.enter_context(replacing(args.output, "w", **text))
            table.write("path,digit,confidence,p0,p1,p2,p3,p4,p5,p6,p7,p8,p9\n")
        sheet = stack.enter_context(replacing(args.sheet)) if args.sheet else None
        answers = answer_pictures(args, params, pairs, table)
        shown = heapq.nsmallest(ON_SHEET, answers, key=lambda answer: rank(*answer))
        total, unread = pairs.total(), pairs.pop(None, 0)
        if not pairs and (args.outputs or not shown) and not any(os.path.exists(path) for path, _, _ in shown):
            raise InputError(f"{' '.join(args.paths)}: no pictures")
        if sheet:
            draw_sheet(shown).save(sheet, "PNG")
    for line in [] if args.alone else summarize(pairs, unread):
        log(line, args.quiet)
    if args.outputs:
        note = f" ({len(shown)} of {total:,} pictures)" if args.sheet and len(shown) < total else ""
        log(f"wrote {', '.join(args.outputs)}{note}", args.quiet)
    return 2 if not pairs else 1 if unread else 0


if __name__ == "__main__":
    run(main)
