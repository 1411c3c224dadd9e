"""Download MNIST into datasets/mnist: training/0 ... 9 and testing/0 ... 9, JPGs named by their index in MNIST's files.

MNIST is four gzipped IDX files: images and labels, for training and for testing. All four are downloaded and checked
before any picture is written. The pictures are made in a temporary folder, which becomes datasets/mnist when it is
complete.

A JPG is not quite the original: no pixel is off by more than about 10 of 255, 0.7 on average.
"""

import gzip
import hashlib
import io
import sys
import tempfile
import urllib.request
from http.client import HTTPException
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # data_tocsv is in the folder above
from data_tocsv import DIGITS, SIZE, InputError, log, make_parser, move, progress, run  # isort: skip
import numpy as np
from PIL import Image

MIRRORS = ["https://storage.googleapis.com/cvdf-datasets/mnist/", "https://ossci-datasets.s3.amazonaws.com/mnist/"]
FILES = {  # bytes and SHA-256, as TensorFlow Datasets publishes them
    "train-images-idx3-ubyte.gz": (9912422, "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    "train-labels-idx1-ubyte.gz": (28881, "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    "t10k-images-idx3-ubyte.gz": (1648877, "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    "t10k-labels-idx1-ubyte.gz": (4542, "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
}
PARTS = {"training": "train", "testing": "t10k"}  # our folders, and how MNIST's files begin
TARGET = Path(__file__).resolve().with_name("mnist")
TIMEOUT = 30  # seconds without an answer


def fetch(name, quiet):
    """Return MNIST's file `name` (bytes) from the first mirror that has it, complete and unchanged."""
    reasons = []
    for mirror in MIRRORS:
        try:
            return download(name, mirror, quiet)
        except (InputError, OSError, HTTPException) as error:  # urllib's errors are OSErrors
            reasons.append(f"{mirror}: {error}")
    raise InputError(f"{name}: {'; '.join(reasons)}: is there an internet connection? If so, try again later")


def download(name, mirror, quiet):
    """Return the file `name` (bytes) of a mirror. Raises InputError if its size or checksum is wrong."""
    size, checksum = FILES[name]
    data = bytearray()
    with urllib.request.urlopen(mirror + name, timeout=TIMEOUT) as response:
        for start in progress(range(0, size + 1, 1000), quiet, desc=name, unit=" kB"):
            data += response.read(min(1000, size + 1 - start))  # one byte more than expected shows a file too long
    if len(data) != size:
        raise InputError(f"{len(data):,} bytes, not {size:,}" if len(data) < size else f"more than {size:,} bytes")
    if hashlib.sha256(data).hexdigest() != checksum:
        raise InputError("wrong SHA-256 checksum")
    return bytes(data)


def unpack(images, labels, folder, quiet):
    """Write the images in an IDX file (bytes) as LABEL/INDEX.jpg into a new folder; labels: their IDX file."""
    labels = np.frombuffer(gzip.decompress(labels), np.uint8, offset=8)  # after the header
    images = np.frombuffer(gzip.decompress(images), np.uint8, offset=16).reshape(-1, SIZE, SIZE)
    for digit in DIGITS:
        (folder / digit).mkdir(parents=True)
    for index in progress(range(len(labels)), quiet, desc=folder.name, unit=" pictures"):
        jpg = io.BytesIO()
        Image.fromarray(images[index]).save(jpg, "JPEG", quality=95)
        (folder / str(labels[index]) / f"{index}.jpg").write_bytes(jpg.getvalue())


def main(argv=None):
    """Make datasets/mnist, complete or not at all, and return the exit status, 0."""
    parser = make_parser(
        "Download MNIST into datasets/mnist: 70,000 JPGs in training/0 ... 9 and testing/0 ... 9.",
        "example: python datasets/download_mnist.py",
    )
    quiet = parser.parse_args(argv).quiet
    if TARGET.exists():
        log(f"{TARGET} exists already: to download MNIST again, delete it first", quiet)
    else:
        with tempfile.TemporaryDirectory(prefix=".mnist.", dir=TARGET.parent) as temporary:
            files = {name: fetch(name, quiet) for name in FILES}
            for part, prefix in PARTS.items():
                images, labels = (files[f"{prefix}-{kind}-ubyte.gz"] for kind in ("images-idx3", "labels-idx1"))
                unpack(images, labels, Path(temporary, "mnist", part), quiet)
            move(Path(temporary, "mnist"), TARGET)
        log(f"{TARGET}: MNIST's 60,000 training and 10,000 test images", quiet)
    log("next: python data_tocsv.py datasets/mnist datasets/sample", quiet)
    return 0


if __name__ == "__main__":
    run(main)
