"""Network and pictures to digits: read one picture, or a whole folder.

From the shell: `python predict.py 7.jpg` prints 7. From Python: `predict("7.jpg")` returns 7, and `predict("folder")`
a list. What a picture is stands in data_tocsv.py, what a network is in train_network.py.
"""

import os

if __name__ == "__main__":
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # more would be in the way of the processes that read pictures

import contextlib
import csv
import select
import sys
import textwrap
from collections import Counter

import numpy as np
from PIL import Image

from data_tocsv import (
    FORMATS,
    NO_DIGIT,
    SEVERAL,
    SIZE,
    InputError,
    Parser,
    caged,
    complain,
    label_of,
    one_line,
    progress,
    put,
    read_images,
    replacing,
    run,
    say,
    thumbnail,
    walk,
)
from train_network import NETWORK, classify, load_network

ON_SHEET = 300  # pictures: a page that an eye can take in
TILE = (132, 82)  # pixels on the sheet for each


def predict(path, network=NETWORK):
    """Return the digit in a picture (int), or the digits in a folder of pictures, in path order (list of int).

    path: a picture's path, or a PIL.Image, or a folder's path, which is read with its sub-folders; network: the path of
    an npz file. Raises InputError (a ValueError) where the network or the one picture cannot be read; in a folder's
    list there is None for a picture that cannot.
    """
    params = load_network(network)
    if not isinstance(path, Image.Image) and os.path.isdir(path):
        return [None if p is None else int(p.argmax()) for batch in read(walk(path), params) for _, _, p in batch]
    ((_, result, p),) = next(read([path], params))
    if p is None:
        raise InputError(f"{'picture' if isinstance(path, Image.Image) else path}: {result}")
    return int(p.argmax())


def read(paths, params):
    """Yield lists of answers, in the paths' order: (path, pixels, p), or (path, reason, None) if it can't be read.

    pixels: (784,) uint8; p: (10,) the probability of each digit, in float64, as in float32 the sixth decimal would show
    which other pictures happened to be calculated with it.
    """
    params = {name: p.astype(np.float64) for name, p in params.items()}
    for results in read_images(paths):
        images = [pixels for _, pixels in results if not isinstance(pixels, str)]
        answers = iter(classify(params, np.array(images)).T if images else ())
        yield [(path, result, None if isinstance(result, str) else next(answers)) for path, result in results]


def is_wrong(path, p):
    """Is the answer another digit than the one that the folder's name tells?"""
    return p is not None and label_of(path) not in (None, p.argmax())


def expand(paths, end):
    """Yield the path of every picture meant: a folder's files, the paths on standard input for "-", else itself."""
    for path in paths:
        for each in stdin_paths(end) if path == "-" else [path]:
            yield from walk(each) if each and os.path.isdir(each) else [each]


def stdin_paths(end):
    """Yield the paths (str) on standard input, but for blank ones, and None where the next is not there yet.

    end: the byte that each ends with.
    """
    if not sys.stdin:
        raise InputError("-: standard input is closed")
    rest = b""
    while chunk := sys.stdin.buffer.read1(65536):
        *lines, rest = (rest + chunk).split(end)
        if len(rest) > 65536 or end == b"\n" and b"\0" in chunk:
            raise InputError("-: not a list of paths, one a line: where a zero byte ends each of them, give -0 as well")
        yield from filter(str.strip, (os.fsdecode(line.removesuffix(b"\r")) for line in lines))
        with contextlib.suppress(OSError):  # Windows cannot tell
            if not select.select([sys.stdin], [], [], 0)[0]:
                yield None
    if rest.strip():
        yield os.fsdecode(rest)


def draw_sheet(answers, total):
    """Return a picture (PIL.Image) of answers, 10 in a row: each as given, as the network saw it, and what it read.

    answers: (path, pixels, p) or (path, reason, None), as from `read`.
    """
    from PIL import ImageDraw  # here, as most runs draw nothing

    sheet = Image.new("RGB", (10 * TILE[0] + 8, -(-len(answers) // 10) * TILE[1] + 26), "lightgrey")
    draw = ImageDraw.Draw(sheet)
    wrong = sum(is_wrong(path, p) for path, _, p in answers)
    title = f"{len(answers):,} of {total:,} pictures" + (f", {wrong:,} wrong ones first" if wrong else "")
    draw.text((8, 6), title, "black")
    for index, (path, result, p) in enumerate(answers):
        x, y = 8 + index % 10 * TILE[0], 26 + index // 10 * TILE[1]
        with contextlib.suppress(InputError), caged():  # it may be no picture, or gone by now
            given = thumbnail(path, 56)
            sheet.paste(given, (x + (56 - given.width) // 2, y + (56 - given.height) // 2))
        if p is None:
            draw.text((x + 60, y), textwrap.fill(result, 12, max_lines=6, placeholder="..."), "red")
        else:
            seen = Image.fromarray(result.reshape(SIZE, SIZE)).resize((56, 56), Image.Resampling.NEAREST)
            sheet.paste(seen, (x + 60, y))
            text, colour = f"{p.argmax()}  {p.max():.1%}", "black"
            if is_wrong(path, p):
                text, colour = f"{text}  not {label_of(path)}", "red"
                draw.rectangle((x - 3, y - 3, x + TILE[0] - 8, y + TILE[1] - 3), outline=colour, width=2)
            draw.text((x, y + 57), text, colour)
        name = os.path.basename(path)[-20:]
        draw.text((x, y + 67), name.encode("ascii", "replace").decode(), "grey")  # not every font has more
    return sheet


def summary(pairs, failed):
    """Return the lines that sum labelled pictures up. pairs: a Counter of (label, digit); failed: how many had none."""
    total, right = pairs.total(), sum(count for (label, digit), count in pairs.items() if label == digit)
    lines = [f"{right:,} of {total:,} right: {right / total:.2%}" + (f", {failed:,} not read" if failed else "")]
    mistakes = Counter({pair: count for pair, count in sorted(pairs.items()) if pair[0] != pair[1]})
    if mistakes:
        mixups = (f"{label} read as {digit} ({count})" for (label, digit), count in mistakes.most_common(5))
        lines.append(f"commonest mix-ups: {', '.join(mixups)}")
    return lines


def main(argv=None):
    """Print the digits in the pictures named, and return 0, 1 if some could not be read, or 2 if none was a picture."""
    parser = Parser(
        description="Read handwritten digits: one in each picture.",
        epilog="One picture: its digit is printed, nothing else. A folder, several paths or -:\n"
        "path<TAB>digit<TAB>confidence, a line each.\n\n"
        "examples: python predict.py 7.jpg\n"
        "          python predict.py datasets/sample/testing\n"
        "          find photos -name '*.jpg' -print0 | python predict.py -0 -o answers.csv -",
    )
    add = parser.add_argument
    add("paths", nargs="+", metavar="PATH", help="a picture, a folder, or - for paths from stdin, one a line")
    add("-0", "--null", action="store_true", help="the paths from stdin end in zero bytes, not lines")
    add("--network", default=NETWORK, metavar="NPZ", help="the network to read with (default: %(default)s)")
    add("-o", "--output", metavar="CSV", help="also write path,digit,confidence,p0,...,p9 to this file")
    add("--sheet", metavar="PNG", help=f"also draw a sheet of up to {ON_SHEET} pictures, wrong ones first")
    args = parser.parse_args(argv)

    params = load_network(args.network)
    outputs = [path for path in (args.output, args.sheet) if path is not None]
    if args.output and format_of(args.output):
        raise InputError(f"{args.output}: a picture's name: give another name for the table")
    if args.sheet is not None and format_of(args.sheet) not in FORMATS:
        raise InputError(f"{args.sheet}: cannot be drawn in that format: give a name in .png")
    targets = [os.path.realpath(path) for path in outputs if os.path.exists(path)]  # what is not there is no picture
    alone = len(args.paths) == 1 and args.paths[0] != "-" and not os.path.isdir(args.paths[0])
    pairs, faults = Counter(), Counter()
    wrong, unread, others = [], [], []  # what is to be on the sheet
    with contextlib.ExitStack() as stack:
        inputs = [*args.paths, args.network]
        if args.output is not None:
            text = {"encoding": "utf-8", "errors": "surrogateescape", "newline": ""}  # a file's name may be any bytes
            table = csv.writer(stack.enter_context(replacing(args.output, inputs, "x", **text)), lineterminator="\n")
            table.writerow(["path", "digit", "confidence", *(f"p{digit}" for digit in range(10))])
        if args.sheet:
            sheet = stack.enter_context(replacing(args.sheet, [*inputs, args.output or args.network]))
        paths = expand(args.paths, b"\0" if args.null else b"\n")
        for answers in read(progress(paths, args.quiet or sys.stdout.isatty(), unit=" pictures"), params):
            lines = []
            for path, result, p in answers:
                group = unread if p is None else wrong if is_wrong(path, p) else others
                if args.sheet and len(group) < ON_SHEET:
                    group.append((path, result, p))
                if p is None:
                    complain(f"{path}: {result}")
                    faults[result] += 1
                    continue
                if targets and os.path.realpath(path) in targets:
                    raise InputError(f"{path}: a picture that is read: give another name for what is to be written")
                digit, confidence = p.argmax(), p.max()
                pairs[label_of(path), digit] += 1
                lines.append(f"{digit}\n" if alone else f"{one_line(path)}\t{digit}\t{confidence:.4f}\n")
                if args.output:
                    table.writerow([path, digit, *(f"{x:.6f}" for x in (confidence, *p))])
            put("".join(lines), needed=not outputs)  # the files are to be whole, whoever reads this
        if not pairs and not faults:
            raise InputError(f"{' '.join(args.paths)}: no pictures there")
        if outputs and not pairs:
            raise InputError(f"{outputs[0]}: not written: no picture could be read")
        if args.sheet:
            drawn = (wrong + unread + others)[:ON_SHEET]
            draw_sheet(drawn, pairs.total() + faults.total()).save(sheet, format_of(args.sheet))
    if pairs and not alone and all(label is not None for label, _ in pairs):
        for line in summary(pairs, faults.total()):
            say(line, args.quiet)
    if pairs or faults.keys() & {NO_DIGIT, SEVERAL}:
        return 1 if faults else 0
    return 2


def format_of(path):
    """Return the picture format (str) that Pillow writes under a name, or None."""
    return Image.registered_extensions().get(os.path.splitext(path)[1].lower())


if __name__ == "__main__":
    run(main)
