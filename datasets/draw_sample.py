"""Draw the sample of handwritten digits: sample/training/0..9/*.jpg and sample/testing/0..9/*.jpg.

No picture of anybody's handwriting goes in. HANDS lists the movements with which people write the ten digits; every
picture is one of them, written once by a hand that slants, stretches, trembles and presses at random, and then
prepared as MNIST's pictures were. Drawing takes under a minute and gives the same pictures every time.
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # data_tocsv is in the folder above this script's
from data_tocsv import Parser, progress, run, say

SAMPLE = Path(__file__).resolve().parent / "sample"
COUNTS = {"training": 540, "testing": 60}  # pictures per digit
PIXELS = 1.6  # of the large drawing per hundredth of the digit's height: 160 from top to bottom, 8 per final pixel

# Points x,y in hundredths of the digit's height, from its upper left corner, in the order in which the pen passes them.
# "!" marks a corner, "/" lifts the pen, "|" ends the hand. All hands below one "#" make the same movement, point for
# point, so that any two of them can be blended.
HANDS = {
    0: """
        # anticlockwise from the top
        34,2 14,14 2,48 12,86 32,99 52,86 60,48 50,12 30,1 | 44,2 12,12 0,50 12,92 40,99 76,86 82,46 70,10 36,3
        50,0 20,20 0,56 4,92 24,99 60,82 76,46 74,14 44,4 | 30,0 12,22 6,56 8,90 24,99 40,84 42,46 38,12 26,2
        30,0 14,30 2,76 20,96 50,96 64,80 52,40 36,14 22,8
        # anticlockwise from the left
        12,12 3,40 8,80 30,99 52,86 60,46 48,10 28,1 8,18 | 8,4 4,40 10,82 30,99 50,88 58,50 54,16 40,2 24,8
        6,16 2,50 14,86 40,99 68,84 76,46 62,8 34,2 2,12
        # clockwise
        30,2 48,8 60,46 50,88 30,99 10,88 1,50 10,14 34,2
        # curled in at the top
        44,14 36,2 14,10 2,48 10,86 30,99 52,84 60,46 50,8 30,4 20,14
        30,24 44,10 20,4 2,44 10,86 34,99 60,84 68,42 54,8 34,10 38,30
    """,
    1: """
        # bare
        30,0 30,50 30,100 | 32,0 28,50 30,100 | 28,0 32,50 30,100 | 30,0 31,60 36,100
        # with a serif
        14,22 24,12 34,0! 34,50 34,100 | 2,36 18,22 34,0! 34,50 34,100 | 24,10 28,8 34,0! 34,50 34,100
        # with a serif and a foot
        14,20 24,12 34,0! 34,50 34,100 / 10,100 34,100 58,100
    """,
    2: """
        # pointed base
        6,24 14,6 34,1 50,10 52,30 36,58 4,96! 32,97 60,97 | 4,14 20,3 38,2 52,12 50,32 34,60 8,98! 30,92 64,96
        10,30 8,14 26,1 48,8 54,28 40,60 2,92! 30,98 58,90 | 2,10 20,8 36,4 52,8 50,24 30,56 6,94! 34,96 62,100
        0,6 16,2 36,2 50,8 46,24 28,56 4,92! 44,94 88,92 | 2,44 4,16 26,0 46,8 48,34 34,64 6,94! 34,92 66,100
        4,14 12,6 26,1 42,8 44,26 28,56 4,78! 34,86 66,100 | 0,20 6,8 24,0 50,8 56,34 40,64 18,84! 40,88 58,98
        0,36 18,4 46,2 60,20 46,46 28,64 4,82! 50,86 92,96 | 10,14 16,4 28,0 38,8 36,30 32,60 26,92! 42,92 60,90
        # looped base
        6,24 20,3 42,4 52,24 38,56 18,86 6,97 2,86 14,78 32,90 46,98 64,88
        4,14 22,1 44,6 50,28 36,60 20,90 8,98 2,90 12,82 32,90 46,97 62,95
        8,20 24,2 44,6 52,26 42,58 26,84 8,95 1,80 12,66 30,80 44,94 66,84
        4,20 22,0 46,8 52,36 44,68 30,90 10,96 0,80 14,64 34,72 54,86 72,98
        8,10 26,1 46,10 50,34 44,64 26,88 6,90 4,70 20,60 40,72 56,84 76,80
        0,14 16,0 40,4 46,30 34,58 20,80 6,88 2,78 12,72 32,82 54,94 74,100
        6,36 16,6 42,2 54,26 40,58 22,82 8,92 2,80 16,72 38,84 56,96 80,94
        0,30 22,0 60,4 64,30 44,60 20,84 4,94 0,78 20,66 48,80 74,92 100,90
        10,14 18,0 36,6 37,30 32,60 26,82 10,96 2,94 18,90 30,90 42,92 64,92
        14,24 30,2 56,6 62,32 46,62 24,86 8,96 4,86 18,76 40,84 60,92 76,86
        8,20 24,2 46,6 50,26 40,50 22,76 6,92 10,88 20,76 32,78 46,90 60,98
        4,30 22,2 48,4 54,28 42,52 22,78 2,94 6,90 20,74 34,76 50,88 66,92
        0,36 12,4 54,0 74,24 58,54 30,78 4,92 6,84 26,72 50,82 72,94 90,88
        # curled start
        14,22 20,30 12,32 10,14 30,1 50,10 52,30 36,62 6,96! 32,94 60,97
        20,26 14,34 6,24 12,8 32,0 52,12 50,36 34,64 2,92! 34,90 64,98
        # rounded base
        6,22 20,3 42,4 52,22 46,46 26,72 12,90 20,97 40,95 60,94
        4,16 24,2 46,4 54,22 40,52 18,76 8,92 18,99 40,98 62,92
        2,8 20,0 44,4 46,22 30,48 10,76 4,92 20,98 50,94 84,88
    """,
    3: """
        # two bowls
        4,14 18,2 40,3 50,20 38,40 16,46! 40,50 56,70 46,92 24,100 2,88
        4,10 20,2 42,2 46,16 34,30 22,38! 38,40 48,56 42,74 30,90 14,100
        10,4 30,0 52,2 46,18 26,30 8,40! 32,46 48,62 44,84 24,98 0,94
        2,14 22,0 48,4 58,20 44,38 24,46! 44,46 52,60 42,82 18,98 -8,100
        # loop in the middle
        4,14 20,2 42,4 48,22 36,42 22,50 18,46 26,42 44,54 54,72 44,92 22,100 2,88
        # flat top
        4,4! 28,3 52,3! 38,22 24,40! 44,46 56,66 48,90 26,100 2,90
        # without a notch
        4,12 24,1 46,8 46,28 34,44 46,58 54,76 40,96 18,100 2,90
    """,
    4: """
        # open, the stem apart
        12,4 8,30 4,58! 30,58 62,54 / 48,0 46,50 44,100 | 10,6 8,24 6,42! 26,44 54,40 / 44,0 44,50 46,100
        # open and round, the stem apart
        6,6 4,32 8,50 30,54 50,46 / 54,2 50,50 46,100
        # open, in one stroke
        6,6 4,32 8,48 26,54 44,44 56,2! 50,40 44,100
        # closed, the stem apart
        44,0 22,32 2,62! 32,62 64,62 / 44,0 44,50 44,100
        # closed, in one stroke
        42,100 44,50 46,0! 24,32 2,62! 32,62 64,60 | 34,100 44,54 54,8! 26,28 6,52! 36,54 70,44
    """,
    5: """
        # body, then hat
        14,4 12,22 8,42! 30,38 52,52 50,82 28,100 2,90 / 14,4 34,3 56,2
        24,24 18,38 12,52! 30,50 42,64 36,86 18,98 -6,92 / 26,22 52,14 80,2
        12,4 10,22 8,46! 30,38 48,46 46,64 36,84 22,100 / 12,4 34,3 54,2
        # hat first, in one stroke
        54,2 34,3 14,4! 12,22 8,42! 30,38 52,54 50,82 28,100 2,90
        84,2 54,8 26,16! 22,32 16,46! 36,48 46,62 38,86 16,98 -8,92
        50,0 32,2 14,4! 12,26 8,52! 30,42 46,52 42,70 34,86 24,100
        60,2 40,4 24,8! 20,24 16,40! 32,40 40,54 34,74 22,90 8,100
        # rounded like an S
        54,4 34,2 16,8 8,24 18,40 36,50 50,66 44,90 24,100 2,90
        # belly closing, then hat
        14,6 12,24 8,42! 30,34 52,50 52,82 32,100 10,94 10,78 / 14,5 34,3 58,2
    """,
    6: """
        # stem into a loop
        44,2 24,18 8,46 2,74 14,96 34,99 52,84 48,62 30,56 12,68 4,82
        24,0 14,26 6,52 4,76 14,95 32,99 46,88 44,70 32,62 18,70 10,84
        20,0 10,28 4,54 4,78 18,97 44,98 68,82 66,60 46,54 28,68 24,92
        16,0 6,26 0,56 6,84 28,99 56,92 70,66 58,46 36,52 26,72 34,92
        # hooked start
        54,14 46,3 28,6 10,30 2,66 12,94 34,99 54,82 48,60 28,54 8,68
        # small or curled loop
        40,2 20,20 6,50 4,80 20,98 44,94 56,78 44,64 28,72 22,84
        14,0 4,28 2,58 10,88 34,99 58,86 66,62 54,50 36,64 30,86
        28,0 14,28 8,54 4,80 14,99 30,96 40,80 36,66 22,72 10,88
        22,0 12,26 6,52 2,74 4,90 14,99 26,96 34,86 28,74 14,88
    """,
    7: """
        # plain
        2,6 28,5 56,4! 42,34 30,66 22,100 | 6,2 24,4 44,6! 40,34 38,66 36,100
        # with a serif
        4,20 4,12 6,5! 30,6 56,4! 42,34 30,66 22,100 | 0,44 2,24 6,6! 30,5 52,2! 50,34 46,66 44,100
        # rounded
        2,14 10,6 28,4 48,2 54,14 42,38 30,66 22,100 | 0,30 4,10 20,2 42,4 50,22 42,46 30,70 20,100
        # with a bar
        2,6 28,5 56,4! 42,34 30,66 22,100 / 12,52 32,50 54,48 | 4,4 24,6 50,4! 42,34 34,66 28,100 / 6,40 36,44 72,44
        # with a serif and a bar
        0,24 4,12 8,4! 30,6 54,4! 42,34 30,66 24,100 / 12,50 32,48 56,46
    """,
    8: """
        # S first
        50,12 36,1 14,6 8,24 24,42 44,60 52,80 36,99 12,94 4,76 22,54 42,40 52,20 40,4
        52,20 44,4 24,2 12,20 24,40 40,58 44,80 28,98 8,94 6,78 20,56 40,44 58,22 56,10
        56,18 42,6 20,4 6,16 18,34 40,52 48,76 30,98 8,92 6,74 20,52 40,36 62,18 78,2
        40,6 28,0 10,6 4,22 18,38 40,54 52,78 36,99 12,96 6,80 20,60 38,44 54,28 66,16
        60,6 48,2 24,6 8,18 22,36 32,48 38,62 28,74 14,76 8,66 18,56 34,44 52,26 62,10
        40,14 32,8 22,12 18,22 26,32 44,50 58,76 40,98 12,96 2,78 16,54 32,38 40,26 40,16
        60,20 40,2 8,6 4,26 24,42 38,56 40,80 28,99 16,90 18,72 30,54 46,40 58,26 62,8
        70,4 44,6 20,8 10,20 24,36 38,52 44,76 28,99 12,92 8,76 22,58 38,44 54,28 70,10
        56,8 48,0 36,4 32,18 38,34 46,52 44,80 24,99 6,92 2,74 16,56 36,44 52,28 58,12
        # two rings
        32,46 12,30 14,8 32,1 50,10 48,32 32,46 / 32,46 8,64 6,88 30,100 56,88 52,62 32,46
        # from the waist
        32,46 12,30 14,8 32,1 50,12 44,36 20,54 6,76 12,94 34,99 54,84 48,62 30,46
        # mirrored S first
        10,14 26,1 46,8 48,26 30,44 12,62 6,84 24,99 46,92 50,74 34,54 14,38 6,20 14,6
    """,
    9: """
        # loop and straight leg
        50,14 34,1 12,8 4,28 14,46 34,44 50,14! 48,40 44,70 40,100
        50,4 30,4 10,20 4,38 18,50 38,36 54,4! 46,36 36,68 26,100
        62,0 40,4 16,14 4,32 12,46 32,42 48,26! 42,48 32,74 22,100
        60,20 40,2 12,10 0,34 14,50 40,44 60,22! 60,50 58,76 56,100
        52,10 30,0 4,20 2,56 22,72 44,54 54,12! 54,40 52,72 50,100
        36,6 18,12 4,34 8,44 20,46 36,36 50,8! 48,36 44,70 40,100
        44,8 28,2 10,10 4,30 14,52 34,54 50,30! 48,52 46,76 46,100
        46,6 30,2 16,14 14,26 22,34 32,28 46,8! 44,44 36,72 28,100
        # loop and curled leg
        50,14 34,1 12,8 4,28 16,46 36,42 50,14! 52,40 50,74 38,96 20,99 6,88
        # loop drawn past its start
        46,8 30,1 10,10 4,30 14,46 34,46 48,34 52,16 44,6 52,30 48,66 42,100
        30,8 14,10 2,26 8,42 26,44 44,32 50,16 42,4 28,6 46,34 44,66 38,100
        # loop begun at the side
        30,2 12,10 4,30 12,44 32,40! 50,10 50,50 46,100
        # loop left open
        52,6 28,2 6,14 6,32 24,42 46,36! 44,56 38,78 30,100
    """,
}


def parse_hands(text):
    """Return families of hands of one digit; a hand is a list of strokes (points (n, 2) float, corner (n,) bool)."""
    families = []
    for family in text.split("#")[1:]:
        hands = family.split("\n", 1)[1].replace("\n        ", "\n").strip().replace("\n", "|").split("|")
        families.append([[parse_stroke(stroke) for stroke in hand.split("/")] for hand in hands])
    return families


def parse_stroke(text):
    words = text.split()
    points = np.array([word.rstrip("!").split(",") for word in words], np.float64)
    return points, np.array([word.endswith("!") for word in words])


def spline(points, corner, tension):
    """Return the path (m, 2) of a cardinal spline through points (n, 2), about 1.5 hundredths from step to step.

    tension: 0 joins the points by straight lines, 1 gives a Catmull-Rom spline, more bulges.
    """
    before = np.vstack([2 * points[0] - points[1], points[:-1]])
    after = np.vstack([points[1:], 2 * points[-1] - points[-2]])
    tangent = tension * (after - before) / 2
    path = []
    for i, chord in enumerate(np.diff(points, axis=0)):
        # a corner has no direction of its own: the pen arrives and leaves straight
        start, end = (chord if corner[j] else tangent[j] for j in (i, i + 1))
        steps = 2 + int(np.hypot(*chord) / 1.5)
        t = np.arange(steps)[:, None] / steps
        bend = (t**3 - 2 * t**2 + t) * start + (t**3 - t**2) * end
        path.append(points[i] + (3 * t**2 - 2 * t**3) * chord + bend)
    return np.vstack([*path, points[-1:]])


def wander(rng, n, knots):
    """Return n values (float, mostly -2..2) that change gradually along a stroke."""
    return np.interp(np.linspace(0, knots - 1, n), np.arange(knots), rng.normal(0, 1, knots))


def write(rng, families):
    """Write a digit once: return its strokes as (path (n, 2), radius (n,)), all in hundredths of its height.

    The spreads are guesses at how hands differ, kept where a network trained on the sample read MNIST's training
    images (never its test images) best; nothing was computed from their pixels.
    """
    share = np.array([len(family) + 1.0 for family in families])
    family = families[rng.choice(len(families), p=share / share.sum())]
    first, second = (family[rng.integers(len(family))] for _ in range(2))
    blend = rng.uniform(-0.2, 1.2)
    tension = np.clip(rng.normal(1, 0.25), 0.3, 1.5)
    jitter = rng.uniform(0.3, 2.3)

    # Three long waves bend the plane, so that loops, legs and bowls grow and shrink against each other.
    height, frequency, phase = rng.normal(0, 4, (3, 2)), rng.normal(0, 0.05, (3, 2)), rng.uniform(0, 2 * np.pi, 3)
    turn, slant, wider = np.deg2rad(rng.normal(0, 5)), rng.normal(0.15, 0.25), np.exp(rng.normal(0, 0.22))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    affine = rotation @ np.array([[1, -slant], [0, 1]]) @ np.diag([wider, 1])

    width = min(np.exp(rng.normal(np.log(10.5), 0.44)), 30)  # from a hairline to a marker
    pressure, tremble = rng.uniform(0, 0.25), 1.2 * rng.uniform() ** 3
    strokes = []
    for (a, corner), (b, _) in zip(first, second, strict=True):
        points = (1 - blend) * a + blend * b + rng.normal(0, jitter, a.shape)
        if len(first) > 1:
            points += rng.normal(0, 2, 2)  # the pen comes down beside its place
        points[0] += (points[0] - points[1]) * rng.normal(0, 0.15)  # and starts or stops early or late
        points[-1] += (points[-1] - points[-2]) * rng.normal(0, 0.2)
        path = spline(points, corner, tension)
        path = (path + np.sin(path @ frequency.T + phase) @ height) @ affine.T
        n = len(path)
        path += tremble * np.stack([wander(rng, n, 2 + n // 6) for _ in range(2)], axis=1)
        strokes.append((path, width / 2 * np.exp(pressure * wander(rng, n, 6))))
    return strokes


def ink(strokes):
    """Draw the strokes large, light (255) on black, with a round pen."""
    margin = 30  # more than the radius of the widest pen
    path = np.vstack([path for path, _ in strokes])
    corner, size = path.min(axis=0) - margin, np.ptp(path, axis=0) + 2 * margin
    picture = Image.new("L", tuple(int(v) for v in np.ceil(size * PIXELS)))
    pen = ImageDraw.Draw(picture)
    for path, radius in strokes:
        # rounded, so that another machine's last binary digit does not change a pixel
        radius = np.round(radius * PIXELS, 1)[:, None]
        centre = np.round((path - corner) * PIXELS, 1)
        for box in np.hstack([centre - radius, centre + radius]).tolist():
            pen.ellipse(box, fill=255)
    return picture


def normalise(picture):
    """Return (28, 28) uint8 0..255 prepared as MNIST was (Yadav & Bottou 2019, "Cold Case: the Lost MNIST Digits")."""
    picture = picture.crop(picture.getbbox())
    side = max(picture.size)
    square = Image.new("L", (side, side))
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    small = np.asarray(square.resize((20, 20), Image.Resampling.BOX), np.float64)
    small = np.rint(small * 255 / small.max())
    centre = np.arange(20) + 0.5
    # the centre of mass comes into pixel 14, unless that pushed ink over the edge
    top, left = (np.clip(int(15 - small.sum(axis=axis) @ centre / small.sum()), 0, 8) for axis in (1, 0))
    digit = np.zeros((28, 28), np.uint8)
    digit[top : top + 20, left : left + 20] = small
    return digit


def replace_folder(new, target, old):
    """Move the folder new to target, and what was there to old; whatever interrupts it, target stays whole."""
    try:
        if target.exists():
            target.rename(old)
        new.rename(target)
    except BaseException:
        if old.exists() and not target.exists():
            old.rename(target)
        raise


def main(argv=None):
    """Draw datasets/sample anew, and return the exit status, 0."""
    parser = Parser(
        description="Draw the sample of handwritten digits anew, the same every time.",
        epilog="example: python datasets/draw_sample.py",
    )
    quiet = parser.parse_args(argv).quiet

    families = {digit: parse_hands(text) for digit, text in HANDS.items()}
    tasks = [(part, digit, index) for part in COUNTS for digit in HANDS for index in range(COUNTS[part])]
    with tempfile.TemporaryDirectory(dir=SAMPLE.parent, prefix=".sample.") as folder:
        new = Path(folder) / "new"
        for part, digit, index in progress(tasks, quiet, unit=" pictures"):
            # each picture has random numbers of its own: to change one digit's hands leaves the others as they are
            rng = np.random.default_rng([list(COUNTS).index(part), digit, index])
            file = new / part / str(digit) / f"{index + 1:04d}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(normalise(ink(write(rng, families[digit])))).save(file, quality=80, optimize=True)
        replace_folder(new, SAMPLE, Path(folder) / "old")
    say(f"{SAMPLE}: {len(tasks):,} pictures", quiet)
    say("next: python data_tocsv.py datasets/sample", quiet)
    return 0


if __name__ == "__main__":
    run(main)
