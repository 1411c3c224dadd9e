"""Draw handwritten digits: the sample, or as many more as wanted, in training/0..9/*.jpg and testing/0..9/*.jpg.

No picture of anybody's handwriting goes in. HANDS lists the movements with which people write the ten digits; every
picture is one of them, written once by a hand that slants, stretches, trembles and presses at random, and then
prepared as MNIST's pictures were. From the inside out: a hand is parsed, its points are joined by a spline, written,
inked and normalised. A picture depends on its part, digit and number alone, so it is the same every time.
"""

import functools
import io
import multiprocessing
import os
import signal
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # data_tocsv is in the folder above this script's
from data_tocsv import InputError, Parser, progress, run, say

FOLDER = Path(__file__).resolve().parent
COUNTS = {"training": 540, "testing": 60}  # pictures of each digit in the sample
PIXELS = 1.6  # of the large drawing per hundredth of the digit's height: 160 from top to bottom, 8 per final pixel
MARK = b"drawn by draw_sample.py"  # the comment in every picture: it may be replaced by others

# Points x,y in hundredths of the digit's height, from its upper left corner, in the order in which the pen passes them.
# "!" marks a corner, "/" lifts the pen, "|" ends the hand. All hands below one "#" make the same movement, point for
# point, so that any two of them can be blended; the more they are, the more often the movement is written.
HANDS = {
    0: """
        # anticlockwise from the top
        34,2 14,14 2,48 12,86 32,99 52,86 60,48 50,12 30,1 | 44,2 12,12 0,50 12,92 40,99 76,86 82,46 70,10 36,3
        50,0 20,20 0,56 4,92 24,99 60,82 76,46 74,14 44,4 | 30,0 12,22 6,56 8,90 24,99 40,84 42,46 38,12 26,2
        30,0 14,30 2,76 20,96 50,96 64,80 52,40 36,14 22,8 | 60,4 16,22 0,58 16,92 60,94 98,66 100,30 80,8 52,2
        50,0 20,10 0,50 18,90 52,99 84,88 100,50 82,12 48,0 | 70,0 30,16 0,60 14,96 50,98 90,84 110,44 104,10 66,2
        40,2 22,30 0,76 10,96 44,98 88,94 96,80 70,36 38,4 | 40,0 16,12 0,48 14,88 42,99 68,86 78,48 64,10 36,0
        # anticlockwise from the left
        12,12 3,40 8,80 30,99 52,86 60,46 48,10 28,1 8,18 | 8,4 4,40 10,82 30,99 50,88 58,50 54,16 40,2 24,8
        6,16 2,50 14,86 40,99 68,84 76,46 62,8 34,2 2,12
        # clockwise
        30,2 48,8 60,46 50,88 30,99 10,88 1,50 10,14 34,2
        # curled in at the top
        44,14 36,2 14,10 2,48 10,86 30,99 52,84 60,46 50,8 30,4 20,14
        30,24 44,10 20,4 2,44 10,86 34,99 60,84 68,42 54,8 34,10 38,30
        24,40 44,22 26,2 4,40 6,84 34,99 64,82 66,42 52,14 34,16 22,36
        # open at the top
        8,14 2,50 12,88 34,99 56,86 62,48 52,12
        # slashed
        36,2 12,14 2,48 12,86 34,99 56,84 64,46 54,10 36,2 / 66,4 34,50 2,96
        # closed below its start
        50,0 24,10 4,44 10,86 36,99 62,80 60,46 40,26 14,30 | 60,2 30,6 4,44 12,88 44,99 76,80 74,42 48,20 16,22
        40,0 18,14 2,50 10,88 32,99 52,84 54,50 40,24 20,20
    """,
    1: """
        # bare
        30,0 30,50 30,100 | 32,0 28,50 30,100 | 28,0 32,50 30,100 | 30,0 31,60 36,100
        # with a serif
        14,22 24,12 34,0! 34,50 34,100 | 2,36 18,22 34,0! 34,50 34,100 | 24,10 28,8 34,0! 34,50 34,100
        -14,56 10,30 34,0! 34,50 34,100 | -24,74 6,38 36,0! 34,50 32,100 | 20,2 28,0 34,0! 32,50 30,100
        14,40 24,22 32,0! 33,50 34,100 | 18,50 26,26 32,0! 32,50 32,100
        # with a serif and a foot
        14,20 24,12 34,0! 34,50 34,100 / 10,100 34,100 58,100 | 0,36 18,20 34,0! 34,50 34,100 / -2,100 34,100 72,100
        4,12 20,8 36,0! 34,50 30,100 / 4,96 30,98 60,104 | 24,6 28,4 34,0! 34,50 34,100 / 6,100 34,100 70,98
        # with a foot
        30,0 30,50 30,100 / 0,100 30,100 60,100
        # curving out
        30,0 26,40 24,80 30,96 44,98 | 26,0 18,40 16,80 16,96 26,94 | 16,6 30,0 34,20 30,60 24,100
    """,
    2: """
        # pointed base
        6,24 14,6 34,1 50,10 52,30 36,58 4,96! 32,97 60,97 | 4,14 20,3 38,2 52,12 50,32 34,60 8,98! 30,92 64,96
        10,30 8,14 26,1 48,8 54,28 40,60 2,92! 30,98 58,90 | 2,10 20,8 36,4 52,8 50,24 30,56 6,94! 34,96 62,100
        0,6 16,2 36,2 50,8 46,24 28,56 4,92! 44,94 88,92 | 2,44 4,16 26,0 46,8 48,34 34,64 6,94! 34,92 66,100
        4,14 12,6 26,1 42,8 44,26 28,56 4,78! 34,86 66,100 | 0,20 6,8 24,0 50,8 56,34 40,64 18,84! 40,88 58,98
        0,36 18,4 46,2 60,20 46,46 28,64 4,82! 50,86 92,96 | 10,14 16,4 28,0 38,8 36,30 32,60 26,92! 42,92 60,90
        8,10 12,4 16,0 22,4 22,24 16,56 4,96! 36,96 72,98 | 0,30 20,10 70,0 100,20 76,48 30,80 0,94! 70,90 160,96
        4,30 14,18 30,16 38,30 34,56 26,78 18,98! 46,60 92,12 | 0,12 14,4 40,2 58,8 60,34 52,64 4,92! 40,94 86,100
        0,20 30,10 80,0 96,30 70,50 36,66 6,78! 60,80 150,60 | 0,24 20,6 50,0 76,6 82,28 54,58 10,92! 60,88 150,92
        20,20 32,6 56,0 78,6 78,24 50,56 0,94! 50,86 120,100 | 0,24 16,8 40,2 66,8 72,28 48,58 10,90! 50,94 120,70
        0,8 16,0 40,0 56,12 60,38 46,70 6,88! 44,90 90,104 | 2,20 8,6 26,0 46,6 52,30 40,64 0,84! 40,90 80,104
        0,16 10,4 24,0 32,10 30,30 24,58 2,92! 40,92 90,94 | 4,12 8,4 18,0 28,6 28,26 22,56 6,96! 40,92 70,90
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
        10,48 2,28 22,4 52,2 66,24 54,54 30,82 8,94 4,80 22,72 46,84 76,98
        18,40 4,36 8,10 38,0 64,16 56,52 32,82 8,92 4,78 20,68 50,78 80,88
        4,46 2,18 30,0 62,10 66,36 50,64 26,90 6,98 0,86 14,76 40,86 66,100
        20,6 32,0 44,6 42,30 32,60 18,86 6,98 0,88 10,76 28,76 54,74 84,68
        24,14 36,0 50,6 44,34 34,58 18,84 4,92 2,80 14,70 34,72 66,66 100,56
        2,36 12,6 44,0 60,22 50,50 34,70 12,92 -6,92 -4,78 20,70 52,74 100,72
        26,24 12,20 22,2 50,2 56,30 44,56 26,80 8,96 2,84 16,72 38,82 60,98
        # curled start
        14,22 20,30 12,32 10,14 30,1 50,10 52,30 36,62 6,96! 32,94 60,97
        20,26 14,34 6,24 12,8 32,0 52,12 50,36 34,64 2,92! 34,90 64,98
        # rounded base
        6,22 20,3 42,4 52,22 46,46 26,72 12,90 20,97 40,95 60,94
        4,16 24,2 46,4 54,22 40,52 18,76 8,92 18,99 40,98 62,92 | 2,8 20,0 44,4 46,22 30,48 10,76 4,92 20,98 50,94 84,88
        # curled start, looped base
        26,34 14,40 4,26 16,4 44,0 60,20 48,54 26,84 8,94 4,80 20,74 44,86 74,92
        22,22 24,34 8,36 8,12 34,0 54,12 48,44 28,78 10,96 2,84 16,74 40,82 66,96
        # large loop
        10,24 20,4 46,2 58,22 44,50 22,80 2,96 -10,80 4,60 26,58 42,76 60,92 80,96
        6,36 10,12 36,0 62,14 62,44 46,72 20,98 -2,92 -4,72 16,58 42,64 64,82 84,96
        16,10 32,0 44,8 42,34 32,64 16,92 0,98 -6,82 6,66 26,62 46,70 68,72 90,66
        10,20 28,2 50,8 54,32 38,60 14,84 -4,86 -6,70 10,58 30,62 44,78 58,94 72,104
        4,28 24,2 54,6 60,30 44,62 22,92 2,98 -8,84 0,68 24,64 50,76 78,84 110,78
        0,34 16,4 50,0 70,22 58,56 34,86 10,98 -6,86 2,66 26,58 48,70 62,86 70,96
        24,30 8,34 8,10 40,0 62,20 52,54 28,86 6,96 -6,82 4,64 28,60 50,78 76,92
        12,44 0,24 22,2 56,4 66,30 50,60 26,86 0,90 -8,70 10,52 38,58 58,78 74,100
        0,30 10,6 40,0 58,20 54,50 32,82 8,94 -4,84 2,66 24,58 44,70 54,84 62,98
        6,20 26,2 56,8 66,40 54,72 28,96 4,96 -6,80 6,62 30,58 54,70 74,84 92,90
        10,16 26,2 48,4 56,24 46,54 28,86 4,96 -6,80 6,62 28,60 42,70 50,82 54,90
        6,24 16,4 40,2 50,24 46,56 34,84 14,98 0,88 6,70 24,68 38,80 48,90 56,96
        20,8 32,0 44,6 44,30 34,58 20,86 2,98 -8,84 4,66 26,66 48,72 70,70 92,66
        28,4 36,0 44,4 42,26 34,54 22,80 6,94 -2,80 10,64 28,62 44,64 60,62 80,58
    """,
    3: """
        # two bowls
        4,14 18,2 40,3 50,20 38,40 16,46! 40,50 56,70 46,92 24,100 2,88
        4,10 20,2 42,2 46,16 34,30 22,38! 38,40 48,56 42,74 30,90 14,100
        10,4 30,0 52,2 46,18 26,30 8,40! 32,46 48,62 44,84 24,98 0,94
        2,14 22,0 48,4 58,20 44,38 24,46! 44,46 52,60 42,82 18,98 -8,100
        2,16 16,4 38,0 50,10 40,28 24,42! 38,44 50,54 48,72 42,86 34,100
        6,12 22,2 44,0 54,12 44,30 28,44! 40,44 52,52 48,74 36,90 20,102
        0,8 16,0 34,4 38,18 28,32 16,38! 34,38 52,48 56,70 46,88 30,100
        12,22 16,8 34,0 46,12 38,32 20,44! 44,46 62,66 48,94 10,100 -14,70
        0,14 20,0 60,2 70,18 50,36 30,42! 60,46 76,62 60,88 20,100 -10,92
        10,6 22,2 40,0 46,10 38,24 26,34! 46,40 60,58 52,82 28,98 -4,92
        4,8 16,2 34,0 40,10 32,22 18,30! 42,34 62,54 58,80 32,100 -6,94
        0,10 20,2 44,0 52,14 38,34 18,50! 32,54 42,64 42,76 38,88 34,100
        0,20 16,4 40,0 52,12 40,36 22,52! 34,58 40,70 38,80 30,90 20,98
        4,12 18,2 38,2 40,14 30,28 16,40! 34,46 46,60 40,80 26,92 -10,100
        14,18 10,6 28,0 46,8 42,28 22,42! 46,44 62,62 56,86 28,100 0,86
        # loop in the middle
        4,14 20,2 42,4 48,22 36,42 22,50 18,46 26,42 44,54 54,72 44,92 22,100 2,88
        # flat top
        4,4! 28,3 52,3! 38,22 24,40! 44,46 56,66 48,90 26,100 2,90
        0,4! 28,2 60,0! 40,20 24,38! 44,40 60,62 50,88 20,100 -8,88
        6,10! 26,2 44,4! 30,24 10,44! 34,40 46,56 42,78 34,90 22,104
        # without a notch
        4,12 24,1 46,8 46,28 34,44 46,58 54,76 40,96 18,100 2,90
        # curled start
        18,28 6,24 8,8 28,0 46,10 40,32 22,44! 46,50 56,74 40,96 14,98 0,86
        16,22 18,32 4,28 10,4 40,0 46,26 24,44! 40,46 52,66 46,90 24,100 4,90
        # curled end
        6,16 20,2 42,4 48,22 36,38 20,44! 46,52 58,76 40,98 12,96 6,82 22,78
        10,12 22,0 44,2 50,18 40,32 24,42! 48,50 60,76 38,98 8,94 0,74 12,62
    """,
    4: """
        # open, the stem apart
        12,4 8,30 4,58! 30,58 62,54 / 48,0 46,50 44,100 | 10,6 8,24 6,42! 26,44 54,40 / 44,0 44,50 46,100
        16,0 10,26 4,52! 24,50 48,44 / 50,28 46,64 42,100 | 8,6 6,26 4,46! 40,46 90,36 / 44,0 38,50 32,100
        # open and round, the stem apart
        6,6 4,32 8,50 30,54 50,46 / 54,2 50,50 46,100
        # open, in one stroke
        6,6 4,32 8,48 26,54 44,44 56,2! 50,40 44,100 | 16,2 6,32 6,56 24,58 42,44 54,0! 46,50 34,100
        8,6 4,30 6,52 26,50 48,38 62,4! 48,50 36,100
        # closed, the stem apart
        44,0 22,32 2,62! 32,62 64,62 / 44,0 44,50 44,100 | 36,2 18,24 2,44! 22,46 48,44 / 40,0 39,50 38,100
        42,4 24,26 4,52! 30,50 48,46 / 42,0 42,50 40,100 | 60,0 30,34 0,66! 40,66 90,60 / 54,20 50,60 44,100
        # closed, in one stroke
        42,100 44,50 46,0! 24,32 2,62! 32,62 64,60 | 34,100 44,54 54,8! 26,28 6,52! 36,54 70,44
        # closed, in one stroke, hardly crossing the stem
        46,100 44,50 42,0! 26,20 0,44! 24,46 50,46 | 36,100 38,50 38,0! 22,16 0,36! 22,40 46,40
        40,100 40,50 40,0! 26,20 4,38! 24,40 45,42
    """,
    5: """
        # body, then hat
        14,4 12,22 8,42! 30,38 52,52 50,82 28,100 2,90 / 14,4 34,3 56,2
        24,24 18,38 12,52! 30,50 42,64 36,86 18,98 -6,92 / 26,22 52,14 80,2
        12,4 10,22 8,46! 30,38 48,46 46,64 36,84 22,100 / 12,4 34,3 54,2
        10,10 8,28 6,44! 24,36 36,50 34,80 -4,96 -20,92 / 10,8 40,4 80,0
        14,6 10,20 6,36! 40,26 70,48 66,80 30,100 -6,88 / 14,6 40,4 74,0
        12,4 8,24 4,44! 34,34 60,56 50,88 20,98 -8,80 / 12,4 32,4 60,6
        20,4 14,20 6,32! 40,28 58,48 50,78 10,96 -20,90 / 18,6 60,8 100,0
        16,6 12,18 8,30! 46,20 74,46 62,86 24,100 -12,72 / 16,6 40,4 66,4
        14,5 11,22 8,42! 32,36 52,56 46,88 18,99 -6,82 / 14,5 36,4 60,2
        18,6 12,24 6,46! 28,44 44,60 38,86 14,96 2,80 / 18,6 40,4 74,0
        # hat first, in one stroke
        54,2 34,3 14,4! 12,22 8,42! 30,38 52,54 50,82 28,100 2,90
        84,2 54,8 26,16! 22,32 16,46! 36,48 46,62 38,86 16,98 -8,92
        50,0 32,2 14,4! 12,26 8,52! 30,42 46,52 42,70 34,86 24,100
        60,2 40,4 24,8! 20,24 16,40! 32,40 40,54 34,74 22,90 8,100
        64,0 40,4 16,8! 14,20 10,34! 26,36 36,52 30,72 20,86 4,104
        70,4 46,4 22,6! 14,20 6,36! 30,34 48,46 46,70 30,82 -16,90
        50,0 34,4 22,8! 16,22 8,40! 24,44 34,56 32,76 20,90 8,100
        90,10 60,6 30,10! 28,20 22,34! 44,38 60,56 50,78 20,98 -14,92
        44,0 32,2 20,4! 20,24 20,44! 40,40 58,54 56,78 36,96 0,96
        80,0 50,2 18,6! 12,20 8,34! 44,30 76,46 74,76 44,98 0,92
        70,2 40,2 14,4! 10,18 4,32! 40,26 70,42 70,76 42,98 -4,96
        60,0 36,2 12,4! 8,22 4,44! 30,36 54,52 52,80 30,98 -4,88
        100,0 60,8 30,16! 22,28 14,42! 34,42 50,54 48,74 32,90 0,94
        70,2 40,2 16,4! 12,16 8,28! 38,20 66,36 70,70 40,100 -10,74
        58,2 36,3 14,5! 12,22 8,40! 30,36 52,54 48,86 20,99 -4,80
        # rounded like an S
        54,4 34,2 16,8 8,24 18,40 36,50 50,66 44,90 24,100 2,90
        70,6 50,0 26,8 14,24 28,38 44,50 50,68 40,84 18,96 -6,98
        56,10 44,0 18,4 6,22 22,38 44,52 56,70 46,92 20,98 -4,84
        30,0 24,6 12,20 6,32 14,40 26,48 34,62 30,76 22,88 10,100
        # belly closing, then hat
        14,6 12,24 8,42! 30,34 52,50 52,82 32,100 10,94 10,78 / 14,5 34,3 58,2
        16,8 12,26 8,44! 28,36 46,50 46,74 26,92 8,90 4,74 / 16,6 44,4 80,-2
        20,10 14,28 8,48! 28,46 42,60 38,84 20,98 4,88 8,66 / 20,8 36,4 54,2
        # belly closing, in one stroke
        60,0 36,2 16,6! 12,22 6,42! 28,34 50,48 52,76 32,98 8,94 6,74
        86,0 56,4 28,12! 20,26 12,44! 30,40 46,52 42,78 22,96 2,88 10,64
        50,0 36,2 24,6! 18,20 10,40! 24,38 40,52 42,80 24,98 6,92 8,76
        100,4 66,4 36,12! 26,26 16,42! 36,38 54,52 48,78 24,94 0,86 8,66
        64,0 44,8 28,14! 18,30 6,48! 24,44 40,56 38,80 22,96 2,92 4,78
        100,0 60,6 34,10! 26,22 18,36! 36,36 48,54 40,80 20,96 2,84 14,60
        70,0 50,4 30,8! 20,26 8,50! 22,44 40,56 36,80 18,96 2,90 8,72
        # belly closing, rounded
        60,4 40,0 16,8 8,26 24,40 44,52 50,76 28,98 6,92 4,74 20,62
        74,2 48,4 24,12 18,28 32,42 44,58 38,84 18,98 2,88 6,70 18,58
        76,0 50,6 26,14 14,34 30,44 46,62 34,88 14,96 0,84 10,66 30,60
        # angular, in one stroke
        60,6! 8,4! 14,44! 54,46! 20,100! | 70,0! 20,4! 6,46! 46,44! 4,100! | 54,4! 10,6! 10,48! 50,60! 10,100!
        56,0! 14,2! 8,38! 52,52! 0,96!
    """,
    6: """
        # stem into a loop
        44,2 24,18 8,46 2,74 14,96 34,99 52,84 48,62 30,56 12,68 4,82
        24,0 14,26 6,52 4,76 14,95 32,99 46,88 44,70 32,62 18,70 10,84
        20,0 10,28 4,54 4,78 18,97 44,98 68,82 66,60 46,54 28,68 24,92
        16,0 6,26 0,56 6,84 28,99 56,92 70,66 58,46 36,52 26,72 34,92
        30,0 14,30 6,56 6,84 22,99 46,92 56,74 46,60 36,58 28,62 22,68
        20,0 8,30 2,62 4,84 20,99 44,92 58,66 54,46 40,44 28,60 16,80
        40,0 22,22 10,48 6,76 18,96 40,92 56,72 52,56 36,56 14,66 -6,78
        24,0 12,28 6,56 10,84 26,98 46,86 58,66 50,54 34,58 14,72 0,86
        42,-4 20,14 4,46 4,78 22,98 48,92 62,72 52,52 36,46 20,54 8,68
        # hooked start
        54,14 46,3 28,6 10,30 2,66 12,94 34,99 54,82 48,60 28,54 8,68
        60,10 44,0 20,10 6,36 2,70 14,96 40,98 56,80 44,62 20,66 8,84
        52,8 40,2 20,12 6,38 4,70 18,94 42,97 60,76 54,50 32,42 12,58
        # small or curled loop
        40,2 20,20 6,50 4,80 20,98 44,94 56,78 44,64 28,72 22,84
        14,0 4,28 2,58 10,88 34,99 58,86 66,62 54,50 36,64 30,86
        28,0 14,28 8,54 4,80 14,99 30,96 40,80 36,66 22,72 10,88
        22,0 12,26 6,52 2,74 4,90 14,99 26,96 34,86 28,74 14,88
        # loop left open
        34,0 16,26 4,58 8,90 34,99 56,84 54,62 42,56 | 16,0 6,34 2,70 10,94 34,98 52,84 48,64 32,58
        40,0 18,22 6,54 10,88 32,98 44,86 40,72 30,70
    """,
    7: """
        # plain
        2,6 28,5 56,4! 42,34 30,66 22,100 | 6,2 24,4 44,6! 40,34 38,66 36,100 | 4,20 18,10 36,0! 30,34 22,66 12,100
        0,10 40,6 80,2! 60,34 44,66 34,100
        # with a serif
        4,20 4,12 6,5! 30,6 56,4! 42,34 30,66 22,100 | 0,44 2,24 6,6! 30,5 52,2! 50,34 46,66 44,100
        0,2 4,16 16,22! 30,18 54,8! 44,40 36,70 28,100 | 4,0 0,12 2,22! 26,18 56,6! 52,36 48,68 46,100
        4,40 4,24 8,8! 28,4 54,0! 52,34 46,66 40,100 | 2,60 2,30 8,6! 34,2 58,0! 56,34 52,66 48,100
        # rounded
        2,14 10,6 28,4 48,2 54,14 42,38 30,66 22,100 | 0,30 4,10 20,2 42,4 50,22 42,46 30,70 20,100
        0,12 4,20 24,18 44,4 52,10 42,40 32,70 24,100 | 10,20 14,6 30,0 44,4 46,18 38,42 28,70 16,100
        0,24 14,6 50,0 84,6 90,22 76,46 56,74 40,100
        # with a bar
        2,6 28,5 56,4! 42,34 30,66 22,100 / 12,52 32,50 54,48 | 4,4 24,6 50,4! 42,34 34,66 28,100 / 6,40 36,44 72,44
        2,4 28,4 60,2! 44,34 32,66 22,100 / 0,60 34,54 70,46 | 8,10 30,8 52,4! 44,34 38,66 34,100 / 24,52 42,50 60,48
        4,12 26,8 50,4! 42,34 34,66 28,100 / 4,58 34,46 66,34
        # with a serif and a bar
        0,24 4,12 8,4! 30,6 54,4! 42,34 30,66 24,100 / 12,50 32,48 56,46
        2,20 2,10 4,4! 36,4 66,2! 50,34 38,66 30,100 / 18,56 44,52 76,46
        6,22 4,14 4,6! 30,4 58,2! 46,34 34,66 26,100 / 6,50 40,46 80,40
        # rounded, with a bar
        4,16 12,4 30,2 50,4 52,20 42,44 32,70 24,100 / 10,54 34,52 62,50
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
        64,0 40,2 14,8 8,22 22,36 34,50 34,70 22,80 8,74 10,60 24,48 44,34 72,16 100,2
        50,6 36,0 18,6 12,22 22,38 36,54 36,82 22,98 8,92 8,74 22,56 34,42 48,22 60,6
        76,18 50,2 20,4 12,20 28,36 44,52 46,80 26,98 6,90 8,72 26,54 44,42 66,30 80,22
        56,10 36,0 16,6 8,18 14,30 40,48 60,76 40,98 12,94 4,76 18,52 36,40 52,28 52,14
        44,20 36,10 22,8 18,20 28,34 48,52 58,80 34,99 6,92 2,72 20,52 36,42 46,32 48,22
        60,14 36,0 8,8 4,30 26,50 40,66 44,84 28,98 14,90 14,76 28,62 46,46 62,32 64,16
        90,8 60,4 30,10 20,24 34,40 48,58 46,84 28,98 10,90 12,70 30,54 46,40 56,26 58,12
        # two rings
        32,46 12,30 14,8 32,1 50,10 48,32 32,46 / 32,46 8,64 6,88 30,100 56,88 52,62 32,46
        34,46 8,34 8,8 32,0 58,10 56,36 34,46 / 34,46 4,56 -2,86 30,100 66,88 64,56 34,46
        32,40 14,30 14,8 32,0 50,10 48,30 32,40 / 32,40 2,58 0,88 32,100 64,88 62,58 32,40
        32,40 20,30 20,10 32,2 46,10 46,32 32,40 / 32,36 0,50 -6,86 30,100 68,86 62,50 32,36
        30,36 14,26 16,6 34,0 52,8 50,28 30,36 / 40,40 6,52 -10,80 20,100 70,92 76,56 40,40
        32,52 8,34 8,8 32,0 58,10 56,40 32,52 / 32,40 6,56 2,88 32,100 62,88 58,56 32,40
        # from the waist
        32,46 12,30 14,8 32,1 50,12 44,36 20,54 6,76 12,94 34,99 54,84 48,62 30,46
        # mirrored S first
        10,14 26,1 46,8 48,26 30,44 12,62 6,84 24,99 46,92 50,74 34,54 14,38 6,20 14,6
        # S first, left open
        54,14 36,1 14,6 8,26 26,42 46,58 50,82 28,99 6,90 8,68 22,52 34,44
        74,10 44,2 18,8 12,24 28,38 42,54 40,80 24,98 8,90 10,70 22,54 40,42
        48,22 40,2 16,4 8,24 22,42 40,60 38,86 22,99 6,92 6,74 18,56 34,46
        64,24 44,2 12,2 2,20 24,38 50,58 54,84 28,99 8,88 14,66 32,52 54,44
        60,20 44,4 20,6 14,26 26,42 42,56 44,80 26,98 8,92 8,70 26,54 44,42
        52,28 50,8 24,2 12,20 26,40 46,58 48,82 28,99 6,90 8,68 22,50 34,42
        60,24 64,6 28,0 10,18 24,40 48,58 46,86 26,99 8,88 10,66 26,48 44,36
        # from the foot, left open
        4,100 14,72 36,44 50,20 34,2 12,8 12,28 36,48 54,70 60,100
        10,94 16,76 34,54 56,28 44,4 14,2 6,26 28,48 48,66 46,92
        # left open at the top
        6,4 22,28 40,54 48,80 30,100 12,82 24,54 44,28 66,0 | 4,8 18,26 34,48 46,72 28,98 8,80 18,54 40,36 80,14
        14,0 22,28 32,50 38,80 26,100 14,82 20,54 32,28 46,4
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
        58,10 26,0 2,28 6,66 34,78 58,44 60,12! 64,50 68,80 70,100
        44,16 32,6 14,14 8,28 14,38 28,34 44,18! 40,48 32,74 22,100
        46,10 30,6 10,24 6,42 16,48 34,36 50,4! 46,40 40,70 36,100
        54,8 30,2 8,20 0,40 16,46 40,34 56,6! 50,40 40,70 30,100
        44,8 28,8 12,26 2,44 16,46 34,36 48,6! 46,40 40,70 36,100
        40,4 26,14 14,30 6,44 18,46 32,36 46,4! 42,40 34,70 28,100
        34,6 22,8 12,22 10,36 18,44 28,32 38,6! 36,40 30,70 26,100
        46,6 32,2 16,8 12,18 20,26 34,20 48,6! 44,40 34,70 26,100
        50,8 30,0 8,6 4,18 16,26 38,20 52,8! 48,40 40,70 34,100
        # loop and curled leg
        50,14 34,1 12,8 4,28 16,46 36,42 50,14! 52,40 50,74 38,96 20,99 6,88
        54,12 34,0 10,12 8,32 22,40 42,30 54,12! 54,44 50,76 30,98 6,98 -14,84
        44,12 32,0 12,6 8,24 20,36 36,28 46,10! 50,38 48,70 34,94 10,98 -6,80
        60,14 36,0 8,12 4,36 28,48 52,36 62,14! 64,50 56,84 34,100 8,96 0,76
        # loop drawn past its start
        46,8 30,1 10,10 4,30 14,46 34,46 48,34 52,16 44,6 52,30 48,66 42,100
        30,8 14,10 2,26 8,42 26,44 44,32 50,16 42,4 28,6 46,34 44,66 38,100
        # loop begun at the side
        30,2 12,10 4,30 12,44 32,40! 50,10 50,50 46,100
        # loop left open
        52,6 28,2 6,14 6,32 24,42 46,36! 44,56 38,78 30,100 | 44,8 22,8 6,24 10,38 24,42 46,32! 42,54 36,76 30,100
        34,2 14,14 4,32 10,44 30,40 52,10! 48,40 44,70 42,100 | 24,4 10,16 6,34 16,44 32,38 46,16! 44,44 40,72 36,100
        # loop begun inside
        30,36 12,38 4,24 16,6 40,2 50,16 44,44 34,72 24,100 | 40,22 26,38 8,34 10,10 36,0 52,10 48,40 44,72 42,100
        24,34 8,30 6,16 22,4 50,0 60,10 46,42 30,72 16,100
        # loop left open at the top
        26,4 8,18 6,40 24,48 44,30 52,6! 48,40 40,70 34,100 | 36,2 14,10 2,30 20,46 46,28 56,10! 54,44 50,70 48,100
        30,10 14,14 6,32 18,42 36,30 44,2! 42,40 36,70 26,100 | 20,2 8,16 4,34 20,42 40,36 54,4! 48,40 42,70 38,100
    """,
}


@functools.cache
def parse_hands(digit):
    """Return the families of a digit's hands, lists of hands; a hand is a list of strokes."""
    families = []
    for family in HANDS[digit].split("#")[1:]:
        hands = family.partition("\n")[2].strip().replace("\n", "|").split("|")
        families.append([[parse_stroke(stroke) for stroke in hand.split("/")] for hand in hands])
    return families


def parse_stroke(text):
    """Return the points of a stroke, (n, 2) float, and which of them are corners, (n,) bool."""
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
    share = np.array([len(family) ** 1.5 for family in families])
    family = families[rng.choice(len(families), p=share / share.sum())]
    first, second = (family[rng.integers(len(family))] for _ in range(2))
    blend = rng.uniform(-0.2, 1.2)
    tension = np.clip(rng.normal(1, 0.15), 0.6, 1.4)
    jitter = rng.uniform(0.2, 1.8)

    # Three long waves bend the plane, so that loops, legs and bowls grow and shrink against each other.
    height, frequency, phase = rng.normal(0, 4, (3, 2)), rng.normal(0, 0.05, (3, 2)), rng.uniform(0, 2 * np.pi, 3)
    turn, slant, wider = np.deg2rad(rng.normal(0, 5)), rng.normal(0.15, 0.25), np.exp(rng.normal(0, 0.22))
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    affine = rotation @ np.array([[1, -slant], [0, 1]]) @ np.diag([wider, 1])

    width = min(np.exp(rng.normal(np.log(10.5), 0.44)), 36)  # from a hairline to a marker
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
    margin = 45  # more than the radius of the widest pen
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


def draw(task):
    """Return a picture as the bytes of a JPG. task: its part, digit and index, on which alone all in it depends."""
    part, digit, index = task
    rng = np.random.default_rng([list(COUNTS).index(part), digit, index])
    picture = normalise(ink(write(rng, parse_hands(digit))))
    jpg = io.BytesIO()
    Image.fromarray(picture).save(jpg, "JPEG", quality=80, optimize=True, comment=MARK)
    return jpg.getvalue()


def start_worker():
    """Leave Ctrl-C to the process that started this one, and end when it says so."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def draw_folder(folder, counts, quiet):
    """Draw counts[part] pictures of each digit into folder/part/digit, on all cores."""
    tasks = [(part, digit, index) for part in counts for digit in HANDS for index in range(counts[part])]
    for part in counts:
        for digit in HANDS:
            (folder / part / str(digit)).mkdir(parents=True)
    with multiprocessing.Pool(initializer=start_worker) as pool:
        pictures = progress(pool.imap(draw, tasks, chunksize=32), quiet, total=len(tasks), unit=" pictures")
        for (part, digit, index), jpg in zip(tasks, pictures):
            (folder / part / str(digit) / f"{index + 1:04d}.jpg").write_bytes(jpg)


def check_target(target):
    """Raise InputError unless there is no `target` yet, or a folder with nothing in it but pictures of this script."""
    if not target.parent.is_dir():
        raise InputError(f"{target.parent}: no such folder: make it first")
    paths = target.rglob("*") if target.is_dir() else [target]
    if target.exists() and not all(is_ours(path) for path in paths):
        raise InputError(f"{target}: not a folder drawn by this script: name another one")


def is_ours(path):
    """Is it a picture that this script has drawn, or a folder, whose pictures are looked at by themselves?"""
    if path.is_dir() and not path.is_symlink():
        return True
    if not path.is_file():  # to open a pipe is to wait for it
        return False
    with path.open("rb") as file:
        return MARK in file.read(100)  # the comment is the second thing in a JPG of Pillow's


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
    """Draw a folder of digits, and return the exit status, 0."""
    parser = Parser(
        description="Draw handwritten digits, the same every time: datasets/sample, or more of them.",
        epilog=f"Testing pictures are always the same {COUNTS['testing']} of each digit.\n\n"
        "example: python datasets/draw_sample.py --count 6000",
    )
    add = parser.add_argument
    add(
        "--count",
        type=int,
        default=COUNTS["training"],
        metavar="N",
        help="training pictures a digit (default: %(default)s)",
    )
    add("-o", "--output", metavar="DIR", help="folder to make (default: datasets/drawn, or sample without --count)")
    args = parser.parse_args(argv)
    if args.count < 1:
        parser.error(f"argument --count: {args.count} is less than 1")

    counts = {**COUNTS, "training": args.count}
    default = os.path.relpath(FOLDER / ("sample" if counts == COUNTS else "drawn"))
    target = Path(args.output or default)
    check_target(target)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.", suffix=".new") as folder:
        draw_folder(Path(folder, "new"), counts, args.quiet)
        replace_folder(Path(folder, "new"), target, Path(folder, "old"))
    say(f"{target}: {10 * sum(counts.values()):,} pictures", args.quiet)
    say(f"next: python data_tocsv.py {target}", args.quiet)
    return 0


if __name__ == "__main__":
    run(main)
