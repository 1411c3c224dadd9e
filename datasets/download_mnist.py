"""Download MNIST into datasets/mnist: training/0 ... 9 and testing/0 ... 9, JPGs named by their index in MNIST's files.

MNIST is four gzipped IDX files (a header, then the numbers): the images and the labels of the training and of the
test set. All four are fetched and checked before anything is written; the pictures are then made in a temporary folder
beside datasets/mnist, which is moved there when it is whole.

A JPG is not quite the original: at quality 95 no pixel is off by more than about 10 of 255, 0.7 on average, and a
picture takes 750 bytes.
"""

import gzip
import hashlib
import io
import os
import sys
import tempfile
import urllib.request
import zlib
from collections import deque
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # data_tocsv is in the folder above this script's
from data_tocsv import DIGITS, SIZE, InputError, Parser, find_pictures, progress, run, say

MIRRORS = ["https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/"]
FILES = {  # bytes and SHA-256, as TensorFlow Datasets publishes them
    "train-images-idx3-ubyte.gz": (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    "train-labels-idx1-ubyte.gz": (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    "t10k-images-idx3-ubyte.gz": (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    "t10k-labels-idx1-ubyte.gz": (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
}
PARTS = {"training": "train", "testing": "t10k"}  # our folders, and how MNIST's files begin
TARGET = Path(__file__).resolve().with_name("mnist")
TIMEOUT = 30  # seconds in which nothing comes


# Fetching.


def fetch(name, mirrors, quiet):
    """Return MNIST's file `name` (bytes) from the first of `mirrors` (a deque of URLs) that gives it whole."""
    reasons = []
    for _ in range(len(mirrors)):
        try:
            return download(name, mirrors[0], quiet)
        except (InputError, OSError, HTTPException) as error:  # urllib's own errors are OSErrors
            reasons.append(f"{mirrors[0]}: {reason(error)}")
            mirrors.rotate(-1)  # the next file, too, is not asked of a mirror that failed until the others have
    raise InputError(
        f"{name}: {'; '.join(reasons)}: try again later, or put MNIST's JPGs into {TARGET} by hand, "
        "in training/0 ... 9 and testing/0 ... 9"
    )


def download(name, mirror, quiet):
    """Return the file `name` (bytes) as `mirror` gives it; raise InputError if it is not the one in FILES."""
    size, checksum = FILES[name]
    data = bytearray()
    with urllib.request.urlopen(mirror + name, timeout=TIMEOUT) as response:
        for start in progress(range(0, size + 1, 1000), quiet, desc=name, unit=" kB"):
            data += response.read(min(1000, size + 1 - start))  # a byte more than there should be shows one too long
    if data.lstrip().startswith(b"<"):  # from a network that wants a log-in first, say
        raise InputError("an HTML page in place of the file")
    if len(data) != size:
        raise InputError(f"{len(data):,} bytes, not {size:,}" if len(data) < size else f"more than {size:,} bytes")
    if hashlib.sha256(data).hexdigest() != checksum:
        raise InputError("wrong SHA-256 sum")
    return bytes(data)


def reason(error):
    """Return why a download failed (str): the system's words, out of what urllib wraps around them."""
    if isinstance(error, HTTPError):
        return str(error)  # HTTP Error 404: Not Found
    error = getattr(error, "reason", error)
    return getattr(error, "strerror", None) or str(error) or type(error).__name__


# Unpacking.


def read_idx(data):
    """Return the array (uint8) in a gzipped IDX file.

    IDX: two zero bytes, 8 for uint8, the number of dimensions, each dimension as 4 bytes, big-endian, the numbers.
    """
    data = gzip.decompress(data)
    if data[:3] != b"\0\0\x08":
        raise ValueError("not an IDX file of bytes")
    ndim = data[3]
    shape = np.frombuffer(data, ">u4", ndim, offset=4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * ndim).reshape(shape)


def read_part(prefix, files):
    """Return the images and the labels of a part of MNIST: (n, 28, 28) and (n,) uint8."""
    try:
        images, labels = (read_idx(files[f"{prefix}-{name}-ubyte.gz"]) for name in ("images-idx3", "labels-idx1"))
        if labels.ndim != 1 or labels.max() > 9 or images.shape != (len(labels), SIZE, SIZE):
            raise ValueError(f"images of shape {images.shape} and labels of shape {labels.shape}")
    except (ValueError, IndexError, EOFError, OSError, zlib.error) as error:  # gzip and NumPy, on what is not theirs
        raise InputError(f"{prefix}-*.gz: not n images and n digits ({error}): check FILES in this script") from error
    return images, labels


def unpack(images, labels, folder, quiet):
    """Write each image as LABEL/INDEX.jpg in `folder`, which is made."""
    for digit in DIGITS:
        (folder / digit).mkdir(parents=True)
    pairs = progress(zip(images, labels), quiet, desc=folder.name, total=len(labels), unit=" pictures")
    for index, (image, label) in enumerate(pairs):
        jpg = io.BytesIO()  # on a full disk Pillow may cut its own file short and say nothing
        Image.fromarray(image).save(jpg, "JPEG", quality=95)
        (folder / str(label) / f"{index}.jpg").write_bytes(jpg.getvalue())


# The command.


def make_mnist(quiet):
    """Make TARGET, whole or not at all."""
    try:
        with tempfile.TemporaryDirectory(prefix=".mnist.", dir=TARGET.parent) as temporary:
            mirrors = deque(MIRRORS)
            files = {name: fetch(name, mirrors, quiet) for name in FILES}
            whole = Path(temporary, TARGET.name)
            for part, prefix in PARTS.items():
                unpack(*read_part(prefix, files), whole / part, quiet)
            os.rename(whole, TARGET)
    except (KeyboardInterrupt, SystemExit):
        say(f"stopped: run this again to make {TARGET}", quiet)
        raise
    except OSError as error:
        raise InputError(f"{TARGET}: {error.strerror}: its folder must be writable, with 300 MB free") from error


def main(argv=None):
    """Make datasets/mnist unless it is there, and return the exit status, 0."""
    parser = Parser(
        description="Download MNIST into datasets/mnist: 70,000 JPGs in training/0 ... 9 and testing/0 ... 9.",
        epilog="example: python datasets/download_mnist.py",
    )
    quiet = parser.parse_args(argv).quiet

    there = TARGET.exists()
    if not there:
        make_mnist(quiet)
    try:
        training, testing = (len(find_pictures(TARGET, word)) for word in ("train", "test"))
    except InputError as error:
        raise InputError(f"{error}; or move {TARGET} away and run this again") from error
    if not training or not testing:
        raise InputError(f"{TARGET}: no training or no testing pictures there: move it away and run this again")
    say(f"{TARGET}: {'already there, ' * there}{training:,} training and {testing:,} testing pictures", quiet)
    say("next: python data_tocsv.py", quiet)
    return 0


if __name__ == "__main__":
    run(main)
