"""Read handwritten digits in pictures with a trained network.

From the shell, `python predict.py 7.jpg` prints 7; from Python, `predict("7.jpg")` returns 7. A folder gives one answer
for each picture in it.
"""

import os

if __name__ == "__main__":  # before NumPy is imported
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # the matrices are small

import contextlib
import csv
import sys
import textwrap
from collections import Counter
from itertools import islice

import numpy as np
from PIL import Image, ImageDraw, ImageOps

from data_tocsv import InputError, log, make_parser, open_image, printable, progress, read_images, replacing, run, walk
from train_network import NETWORK, classify, load_network

BATCH = 32  # pictures that are classified at a time
ON_SHEET = 300  # pictures
TILE = 132, 82  # pixels on the sheet for each picture


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
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), NETWORK)
    return beside if os.path.exists(beside) and not os.path.exists(NETWORK) else NETWORK


def classify_pictures(paths, params, quiet=True, **options):
    """Yield, in order, (path, pixels, p) for each picture, or (path, InputError, None) if it cannot be read.

    pixels: (784,) uint8; p: (10,) float32, the probability of each digit; options: of the progress bar, if not quiet.
    """
    results = iter(progress(read_images(paths), quiet, **options))
    while batch := list(islice(results, BATCH)):
        images = [pixels for _, pixels in batch if not isinstance(pixels, InputError)]
        answers = iter(classify(params, np.array(images)).T if images else [])
        for path, pixels in batch:
            yield path, pixels, None if isinstance(pixels, InputError) else next(answers)


def label_of(path):
    """Return the digit that the picture's folder is named after (int), or None."""
    name = os.path.basename(os.path.dirname(path))
    return int(name) if name in tuple("0123456789") else None


def is_wrong(path, _, p):
    """Return whether the folder is named after another digit than the answer."""
    return p is not None and label_of(path) not in (None, p.argmax())


# The command.


def find_paths(arguments):
    """Yield the path of every picture: the files in a folder, paths from stdin for "-", or the argument itself."""
    for argument in arguments:
        if argument == "-":
            if not sys.stdin:
                raise InputError("-: standard input is closed")
            yield from find_paths(line.rstrip("\r\n") for line in sys.stdin if line.strip() not in ("", "-"))
        elif os.path.isdir(argument):
            yield from walk(argument)
        else:
            yield argument


def write_table(answers, file):
    """Write answers as a CSV table to a text file."""
    table = csv.writer(file, lineterminator="\n")
    table.writerow(["path", "digit", "confidence", *(f"p{digit}" for digit in range(10))])
    for path, _, p in answers:
        table.writerow([path, *(12 * [""] if p is None else [p.argmax(), *(f"{x:.6f}" for x in (p.max(), *p))])])


def draw_sheet(answers):
    """Return a picture (PIL.Image) of answers, 10 in a row: each as given, as the network saw it, and the answer.

    Known mistakes come first, then unread pictures.
    """
    answers = sorted(answers, key=lambda answer: (not is_wrong(*answer), answer[2] is not None))[:ON_SHEET]
    sheet = Image.new("RGB", (10 * TILE[0] + 8, -(-len(answers) // 10) * TILE[1] + 8), "lightgrey")
    draw = ImageDraw.Draw(sheet)
    for index, (path, pixels, p) in enumerate(answers):
        x, y = 8 + index % 10 * TILE[0], 8 + index // 10 * TILE[1]
        name = path if len(path) <= 22 else f"...{path[-19:]}"
        draw.text((x, y + 67), printable(name), "grey")
        with contextlib.suppress(ValueError):  # unreadable, or too narrow
            sheet.paste(ImageOps.contain(open_image(path), (56, 56)), (x, y))
        if p is None:
            draw.text((x + 60, y), textwrap.fill(str(pixels), 11, max_lines=5), "red")
            continue
        seen = Image.fromarray(pixels.reshape(28, 28)).resize((56, 56), Image.Resampling.NEAREST)
        sheet.paste(seen, (x + 60, y))
        text, colour = f"{p.argmax()}  {p.max():.1%}", "black"
        if is_wrong(path, pixels, p):
            text, colour = f"{text}  not {label_of(path)}", "red"
        draw.text((x, y + 57), text, colour)
    return sheet


def summarize(pairs, unread):
    """Return lines of text on labelled pictures. pairs: Counter of (label, digit); unread: how many had no answer."""
    total, right = pairs.total(), sum(count for (label, digit), count in pairs.items() if label == digit)
    lines = [f"{right:,} of {total:,} right: {right / total:.2%}" + (f", {unread:,} not read" if unread else "")]
    mistakes = [f"{pair[0]} read as {pair[1]} ({count})" for pair, count in pairs.most_common() if pair[0] != pair[1]]
    return lines + [f"most common mistakes: {', '.join(mistakes[:5])}"] if mistakes else lines


def parse_args(argv):
    """Return the command's options."""
    parser = make_parser(
        "Read handwritten digits, one in each picture.",
        "One picture gives its digit. A folder, several paths or - give lines of path<TAB>digit<TAB>confidence.\n\n"
        "examples: python predict.py 7.jpg\n"
        "          python predict.py datasets/sample/testing\n"
        "          find photos -name '*.jpg' | python predict.py -o answers.csv -",
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="picture, folder, or - for paths from stdin, 1 per line")
    add("--network", metavar="NPZ", help="network to use (default: network.npz, here or beside this script)")
    add("-o", "--output", metavar="CSV", help="also write path,digit,confidence,p0,...,p9 to this file")
    add("--sheet", metavar="PNG", help=f"also draw up to {ON_SHEET} pictures and answers, known mistakes first")
    args = parser.parse_args(argv)
    for name, suffix in (args.output, ".csv"), (args.sheet, ".png"):
        if name and not name.lower().endswith(suffix):  # it might be a picture
            parser.error(f"{name} does not end in {suffix}")
        if name and not os.path.isdir(os.path.dirname(name) or "."):
            raise InputError(f"{name}: no such folder")
    return args


def main(argv=None):
    """Print the digits in the pictures given; return 0, or 1 if some had no answer, or 2 if none had."""
    args = parse_args(argv)
    network = args.network or find_network()
    params = load_network(network)
    if network not in (NETWORK, args.network):
        log(f"using {network}", args.quiet)
    paths = list(find_paths(args.paths))
    if not paths:
        raise InputError(f"{' '.join(args.paths)}: no pictures")
    outputs = {os.path.realpath(path) for path in (args.output, args.sheet) if path}
    for path in paths if any(map(os.path.exists, outputs)) else []:
        if "\0" not in path and os.path.realpath(path) in outputs:  # realpath refuses \0
            raise InputError(f"{path}: would be read and overwritten: write to another folder")

    alone = len(paths) == 1 and paths == args.paths
    answers = []
    quiet = args.quiet or sys.stdout.isatty()
    for path, pixels, p in classify_pictures(paths, params, quiet, total=len(paths), unit=" pictures"):
        answers.append((path, pixels, p))
        if p is None:
            log(f"{'error: ' if alone else ''}{path}: {pixels}")
        else:
            with contextlib.suppress(BrokenPipeError if outputs else ()):  # the files must still be written
                print(p.argmax() if alone else f"{printable(path)}\t{p.argmax()}\t{p.max():.4f}")
    pairs = Counter((label_of(path), p.argmax()) for path, _, p in answers if p is not None)
    if not pairs:
        if outputs:
            log("no file is written: no picture was read")
        return 2
    if args.output:
        with replacing(args.output, "w", newline="", encoding="utf-8", errors="surrogateescape") as file:
            write_table(answers, file)
    if args.sheet:
        with replacing(args.sheet) as file:
            draw_sheet(answers).save(file, "PNG")
    unread = len(answers) - pairs.total()
    if not alone and all(label is not None for label, _ in pairs):
        for line in summarize(pairs, unread):
            log(line, args.quiet)
    return 1 if unread else 0


if __name__ == "__main__":
    run(main)
