"""Network and pictures to digits: read one picture, or a whole folder.

From the shell: `python predict.py 7.jpg` prints 7. From Python: `predict("7.jpg")` returns 7, and `predict("folder")`
a list. What a picture is stands in data_tocsv.py, what a network is in train_network.py.
"""

import os
import signal

if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # more would be in the way of the processes that read pictures
    if signal.getsignal(signal.SIGINT) == signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # until main begins, Ctrl-C ends us without a traceback

import contextlib
import csv
import sys
from collections import Counter

import numpy as np
from PIL import Image

from data_tocsv import (
    NO_DIGIT,
    SIZE,
    InputError,
    Parser,
    check_output,
    command,
    label_of,
    one_line,
    open_image,
    progress,
    put,
    read_image,
    read_images,
    replacing,
    say,
    thumbnail,
    walk,
)
from train_network import NETWORK, classify, load_network

ON_SHEET = 300  # answers: a page that an eye can take in
TILE = (132, 80)  # pixels on the sheet for each
TEXT = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}  # a file's name may be any bytes


def predict(path, network=NETWORK):
    """Return the digit in a picture (int), or the digits in a folder of pictures, in path order (list of int).

    path: a picture's, or a folder's, which is read with its sub-folders. network: the path of an npz file.
    Raises InputError (a ValueError) that names the picture or network that cannot be read.
    """
    params = load_network(network)
    digits = []
    for picture in walk(path) if os.path.isdir(path) else [path]:
        try:
            digits.append(int(classify(params, read_image(picture)[np.newaxis]).argmax()))
        except InputError as error:
            raise InputError(f"{picture}: {error}") from error
    return digits if os.path.isdir(path) else digits[0]


def is_picture(path):
    """Is there a picture at `path` already?"""
    try:
        with open_image(path):
            return True
    except InputError:
        return False


def expand(paths):
    """Yield the path of every picture meant: a folder's files, the lines of standard input for "-", else itself."""
    for path in paths:
        for each in lines_of_stdin() if path == "-" else [path]:
            yield from walk(each) if os.path.isdir(each) else [each]


def lines_of_stdin():
    """Yield the lines of standard input (str), but for blank ones."""
    if not sys.stdin:
        raise InputError("-: standard input is closed")
    for line in sys.stdin.buffer:
        if line.strip():
            yield os.fsdecode(line).rstrip("\r\n")


def draw_sheet(answers, total):
    """Return a picture (PIL.Image) of answers, 10 in a row: as given, as the network saw it, digit and confidence.

    answers: list of (path, pixels (784,) uint8, digit, confidence, label or None); the wrong ones are marked in red.
    """
    from PIL import ImageDraw  # here, as most runs draw nothing

    rows = -(-len(answers) // 10)
    sheet = Image.new("RGB", (10 * TILE[0] + 8, rows * TILE[1] + 26), "lightgrey")
    draw = ImageDraw.Draw(sheet)
    wrong = sum(label not in (None, digit) for *_, digit, _, label in answers)
    draw.text(
        (8, 6), f"{len(answers):,} of {total:,} pictures" + f", {wrong:,} wrong ones first" * bool(wrong), "black"
    )
    for index, (path, pixels, digit, confidence, label) in enumerate(answers):
        x, y = 8 + index % 10 * TILE[0], 26 + index // 10 * TILE[1]
        colour, text = "black", f"{digit}  {confidence:.1%}"
        if label not in (None, digit):
            colour, text = "red", f"{text}  not {label}"
            draw.rectangle((x - 3, y - 3, x + TILE[0] - 8, y + TILE[1] - 6), outline="red", width=2)
        with contextlib.suppress(InputError):  # the file may be gone by now
            given = thumbnail(path, 56)
            sheet.paste(given, (x + (56 - given.width) // 2, y + (56 - given.height) // 2))
        seen = Image.fromarray(pixels.reshape(SIZE, SIZE)).resize((56, 56), Image.Resampling.NEAREST)
        sheet.paste(seen, (x + 60, y))
        draw.text((x, y + 60), text, colour)
    return sheet


def summary(confusion, failed):
    """Return the lines that sum labelled pictures up. confusion: (10, 10), a row a label, a column an answer."""
    total, right = confusion.sum(), confusion.trace()
    lines = [f"{right:,} of {total:,} right: {right / total:.2%}" + (f", {failed:,} not read" if failed else "")]
    mistakes = Counter({pair: count for pair, count in np.ndenumerate(confusion) if count and pair[0] != pair[1]})
    if mistakes:
        mixups = (f"{label} read as {digit} ({count})" for (label, digit), count in mistakes.most_common(5))
        lines.append(f"commonest mix-ups: {', '.join(mixups)}")
    return lines


@command
def main(argv=None):
    """Print the digits in the pictures named. Return the exit status: 0, 1 if some were not read, 2 if none was."""
    parser = Parser(
        description="Read handwritten digits: one in each picture.",
        epilog="One picture: its digit is printed, nothing else. A folder, several paths or -:\n"
        "path<TAB>digit<TAB>confidence, a line each.\n\n"
        "examples: python predict.py 7.jpg\n"
        "          python predict.py datasets/sample/testing\n"
        "          find photos -name '*.jpg' | python predict.py -o answers.csv -",
    )
    parser.add_argument("paths", nargs="+", metavar="PATH", help="a picture, a folder, or - for paths from stdin")
    parser.add_argument(
        "--network", default=NETWORK, metavar="NPZ", help="the network to read with (default: %(default)s)"
    )
    parser.add_argument("-o", "--output", metavar="CSV", help="also write path,digit,confidence,p0,...,p9 to this file")
    parser.add_argument(
        "--sheet", metavar="PNG", help=f"also draw a sheet of up to {ON_SHEET} answers, wrong ones first"
    )
    args = parser.parse_args(argv)

    params = load_network(args.network)
    inputs = [*args.paths, args.network]
    for path in filter(None, (args.output, args.sheet)):
        check_output(path)
        if os.path.realpath(path) in map(os.path.realpath, inputs) or path == args.output and is_picture(path):
            raise InputError(f"{path}: a picture, or named twice: give another name")
        inputs.append(path)  # nor is the sheet to take the place of the answers
    alone = len(args.paths) == 1 and args.paths[0] != "-" and not os.path.isdir(args.paths[0])
    pictures = progress(expand(args.paths), args.quiet or sys.stdout.isatty(), unit=" pictures")
    failures, answered, labelled, confusion = Counter(), 0, True, np.zeros((10, 10), int)
    wrong, others = [], []  # what is to be on the sheet
    with replacing(args.output, "x", **TEXT) if args.output else contextlib.nullcontext() as file:
        if file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["path", "digit", "confidence", *(f"p{digit}" for digit in range(10))])
        for paths, pixels in read_images(pictures, failures):
            P, lines = classify(params, pixels), []  # (10, n)
            for path, row, p in zip(paths, pixels, P.T):
                digit = p.argmax()
                lines.append(f"{digit}\n" if alone else f"{one_line(path)}\t{digit}\t{p[digit]:.4f}\n")
                if file:
                    writer.writerow([path, digit, f"{p[digit]:.6f}", *(f"{x:.6f}" for x in p)])
                label = label_of(path)
                labelled = labelled and label is not None
                if labelled:
                    confusion[label, digit] += 1
                group = others if label in (None, digit) else wrong
                if args.sheet and len(group) < ON_SHEET:
                    group.append((path, row, digit, p[digit], label))
            put("".join(lines), wanted=not (args.output or args.sheet))  # the files are to be whole, whoever reads this
            answered += len(paths)
        if not answered and not failures:
            raise InputError(f"{' '.join(args.paths)}: no pictures there")
        status = 2 if not answered and NO_DIGIT not in failures else 1 if failures else 0
        if status == 2 and file:
            raise InputError(f"{args.output}: not written: no picture could be read")
    if args.sheet and answered:
        with replacing(args.sheet) as file:
            draw_sheet((wrong + others)[:ON_SHEET], answered).save(file, "PNG")
    if answered and labelled and not alone:
        for line in summary(confusion, sum(failures.values())):
            say(line, args.quiet)
    return status


if __name__ == "__main__":
    sys.exit(main())
