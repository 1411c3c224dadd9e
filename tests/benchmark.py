"""Measure the scripts' speed and memory: a table in which each line compares ours with a floor or a peer.

The two sides of a line run in turn, several times; the ratio is the median of the rounds' ratios, because noise mostly
affects two runs in a row alike. "CPU" lines compare processor time. A peer that is not installed is passed over
(tests/benchmark-requirements.txt lists them). With MNIST_JPG set to the folder of MNIST's JPGs they are measured,
otherwise as many pictures of the drawn sample. With OWN_PICTURES set to a folder of JPGs and PNGs they are the own
pictures, otherwise enlarged ones are.
"""

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # as in train_network.py
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np  # noqa: E402
from PIL import Image, ImageDraw, ImageOps  # noqa: E402

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

import train_network  # noqa: E402
from data_tocsv import find_pictures, read_csv, read_image, to_csv, walk  # noqa: E402

DECODE = (
    "import sys, numpy as np; from PIL import Image\nfor path in open(sys.argv[1]): np.asarray(Image.open(path[:-1]))"
)
# A script runs inside, because only the process itself knows its peak since it started.
MEASURE_MEMORY = """
import os, runpy, sys
sys.argv = sys.argv[1:]
sys.path.insert(0, os.path.dirname(sys.argv[0]))
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit as error:
    if error.code:
        raise
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""
WORDS = []  # of the lines to measure; all if empty


def wanted(name):
    """Return whether a line is to be measured."""
    return not WORDS or any(word.lower() in name.lower() for word in WORDS)


def compare(name, limit, ours, theirs, rounds=5, clock=time.perf_counter):
    """Run `ours` and `theirs` (functions) in turn, and print a line with their times and ratio."""
    if not wanted(name):
        return
    seconds = np.zeros((rounds, 2))
    try:
        for i, (j, function) in itertools.product(range(rounds), enumerate((ours, theirs))):
            start = clock()
            function()
            seconds[i, j] = clock() - start
    except ModuleNotFoundError as error:
        return print(f"{name:66} passed over: {error.name} is not installed", flush=True)
    mine, other = np.median(seconds, axis=0)
    ratio = np.median(seconds[:, 0] / np.maximum(seconds[:, 1], 1e-9))
    print(f"{name:66} {mine:9.4f} s {other:9.4f} s {ratio:8.2f}   at most {limit}", flush=True)


def cpu_time():
    """Return the processor time, in seconds, of this process and those that it has waited for."""
    return sum(os.times()[:4])


def shell(*command):
    """Return a function that runs Python with these arguments to its end."""
    command = [sys.executable, *map(str, command)]
    return lambda: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def print_memory(name, limit, *command):
    """Run Python with these arguments, and print the most memory that it took (Linux only)."""
    if not wanted(name):
        return
    if not os.path.exists("/proc/self/status"):
        return print(f"{name:66} passed over: no /proc here", flush=True)
    command = [sys.executable, "-c", MEASURE_MEMORY, *map(str, command)]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    print(f"{name:66} {int(output.split()[-1]) / 1000:9.0f} MB {'':20} at most {limit}", flush=True)


# Pictures.


def make_photo(path, width=4000, height=3000, **options):
    """Write a JPG: a 7 in pencil on grainy paper, in uneven light."""
    rng = np.random.default_rng(0)
    light = np.linspace(120, 220, width, dtype=np.float32) + np.linspace(0, 30, height, dtype=np.float32)[:, None]
    paper = Image.fromarray(np.uint8(np.clip(light + rng.normal(0, 4, light.shape), 0, 255)))
    points = [(x * width, y * height) for x, y in ((0.4, 0.3), (0.6, 0.3), (0.5, 0.7))]
    ImageDraw.Draw(paper).line(points, fill=70, width=width // 70, joint="curve")
    paper.convert("RGB").save(path, quality=90, **options)


def make_pictures(folder, paths):
    """Return the paths of 1,000 pictures inverted, and of own pictures: 100 of them enlarged, in colour."""
    inverted, own = [], []
    for index, path in enumerate(paths[:: len(paths) // 1000][:1000]):
        inverted.append(folder / f"inverted {index}.png")
        with Image.open(path) as picture:
            ImageOps.invert(picture).save(inverted[-1])
    for index, path in enumerate(inverted[::10]):
        own.append(folder / f"own {index}.png")
        with Image.open(path) as picture:
            picture.convert("RGB").resize((800, 800), Image.Resampling.BICUBIC).save(own[-1])
    return inverted, own


def copy_to(folder, path, count):
    """Make a folder with `count` copies of a picture."""
    folder.mkdir()
    for index in range(count):
        os.link(path, folder / f"{index}.jpg")
    return folder


def list_file(folder, name, paths):
    """Write the paths to a file, one a line, for DECODE; return its path."""
    (folder / name).write_text("".join(f"{path}\n" for path in paths), encoding="utf-8")
    return folder / name


# Training.


def eight_products(n):
    """Do the matrix products of an epoch over n images, and nothing else."""
    rng = np.random.default_rng(0)
    shapes = (784, 128), (256, 784), (256, 128), (64, 256), (64, 128), (10, 64), (10, 128)
    X, W1, A1, W2, A2, W3, D3 = (rng.random(shape, np.float32) for shape in shapes)
    for _ in range(-(-n // 128)):
        W1 @ X, W2 @ A1, W3 @ A2
        D3 @ A2.T, W3.T @ D3, A2 @ A1.T, W2.T @ A2, A1 @ X.T


def our_epoch(labels, pixels, **options):
    """Train a new network for an epoch."""
    rng = np.random.default_rng(1)
    list(train_network.train(train_network.init_params(rng), pixels, labels, rng, epochs=1, **options))


def torch_epoch(labels, pixels):
    """Do a plain epoch in PyTorch: the same network, batch and optimizer, on the CPU."""
    import torch

    X, y = torch.tensor(pixels).float() / 255, torch.tensor(labels).long()
    layers = torch.nn.Linear(784, 256), torch.nn.ReLU(), torch.nn.Linear(256, 64), torch.nn.ReLU()
    model = torch.nn.Sequential(*layers, torch.nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    for batch in torch.randperm(len(y)).split(128):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(X[batch]), y[batch]).backward()
        optimizer.step()


# CSV.


def pandas_read(path):
    import pandas

    pandas.read_csv(path, header=None, dtype=np.uint8).to_numpy()


def polars_read(path):
    import polars

    polars.read_csv(path, has_header=False, schema={f"p{i}": polars.UInt8 for i in range(785)}).to_numpy()


def write_csv(path, labels, pixels):
    path.write_bytes(b"".join(map(to_csv, labels, pixels)))


def measure(folder):
    """Print all lines; folder: an empty one."""
    source = Path(os.environ.get("MNIST_JPG", REPO / "datasets" / "sample"))
    shell(REPO / "data_tocsv.py", source, "-o", folder)()
    labels, pixels = (np.resize(array, (60_000, *array.shape[1:])) for array in read_csv(folder / "train_images.csv"))
    train_csv, test_csv, network = folder / "train.csv", folder / "test_images.csv", folder / "network.npz"
    write_csv(train_csv, labels, pixels)
    with open(network, "wb") as file:
        train_network.save_network(train_network.init_params(np.random.default_rng(0)), file)
    paths = [path for pictures in find_pictures(source) for _, path in pictures]
    jpgs = folder / "jpgs"
    jpgs.mkdir()
    for index, path in zip(range(10_000), itertools.cycle(paths[:: -(-len(paths) // 10_000)])):
        (jpgs / f"{index}.jpg").write_bytes(Path(path).read_bytes())
    make_photo(folder / "photo.jpg")
    make_photo(folder / "large.jpg", 7200, 4990, progressive=True)  # held in memory at full size
    photos, large = copy_to(folder / "40", folder / "photo.jpg", 40), copy_to(folder / "8", folder / "large.jpg", 8)
    inverted, own = make_pictures(folder, list(walk(jpgs)))
    if "OWN_PICTURES" in os.environ:
        own = [path for path in walk(os.environ["OWN_PICTURES"]) if path.lower().endswith((".jpg", ".jpeg", ".png"))]
    predict = [REPO / "predict.py", "-q", "--network", network]

    convert = shell(REPO / "data_tocsv.py", source, "-q", "-o", folder)
    decode = shell("-c", DECODE, list_file(folder, "all.txt", paths))
    compare(f"CPU: converting {len(paths):,} pictures / decoding them", 1.5, convert, decode, 3, cpu_time)
    decode = shell("-c", DECODE, list_file(folder, "jpgs.txt", walk(jpgs)))
    compare("predicting a folder of 10,000 / decoding it", 1.6, shell(*predict, jpgs), decode)
    decode = shell("-c", DECODE, list_file(folder, "photos.txt", walk(photos)))
    compare("40 photos of 12 megapixels / decoding them whole", 1, shell(*predict, photos), decode, 3)
    imports = shell("-c", "import numpy, PIL.Image")
    compare("one photo, from shell to answer / import numpy, PIL.Image", 3, shell(*predict, photos / "0.jpg"), imports)

    def read(some):
        return lambda: [read_image(path) for path in some]

    def draft():
        with Image.open(photos / "0.jpg") as picture:
            picture.draft(None, (256, 256))
            np.asarray(picture)

    rgb = lambda: [np.asarray(Image.open(path).convert("RGB")) for path in own]  # noqa: E731
    compare("black on white, 28 x 28 / as MNIST's own", 13, read(inverted), read(list(walk(jpgs))[:1000]))
    compare("CPU: own pictures / decoding them as RGB", 2, read(own), rgb, 5, time.process_time)
    compare("a photo of 12 megapixels / decoding it with draft", 1.5, read([photos / "0.jpg"]), draft, 15)

    plain = lambda: our_epoch(labels, pixels, distortion=False)  # noqa: E731
    torch = lambda: torch_epoch(labels, pixels)  # noqa: E731
    compare("plain epoch / its eight matrix products", 1.25, plain, lambda: eight_products(len(labels)))
    compare("plain epoch / PyTorch's", 0.7, plain, torch)
    compare("default epoch / plain epoch", 2, lambda: our_epoch(labels, pixels), plain)

    out, few = folder / "out.csv", slice(20_000)
    rows = np.column_stack([labels, pixels])[few]
    savetxt = lambda: np.savetxt(out, rows, "%d", ",")  # noqa: E731
    compare("reading the CSV file / pandas", 1, lambda: read_csv(train_csv), lambda: pandas_read(train_csv), 3)
    compare("reading the CSV file / polars", 1, lambda: read_csv(train_csv), lambda: polars_read(train_csv), 3)
    compare("writing CSV / np.savetxt", 0.25, lambda: write_csv(out, labels[few], pixels[few]), savetxt, 3)

    train = [REPO / "train_network.py", "--train", train_csv, "--test", test_csv, "--epochs", 2, "-q"]
    print_memory("memory: training on 60,000 images", "350 MB", *train, "-o", folder / "new.npz")
    print_memory("memory: converting", "200 MB", REPO / "data_tocsv.py", source, "-q", "-o", folder)
    outputs = ["-o", folder / "answers.csv", "--sheet", folder / "sheet.png"]
    print_memory("memory: predicting 10,000 pictures", "100 MB", *predict, jpgs, *outputs)
    print_memory("memory: predicting 8 pictures of 36 megapixels", "1000 MB", *predict, large)


if __name__ == "__main__":
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("words", nargs="*", metavar="WORD", help="measure only the lines with one of these words")
    WORDS += parser.parse_args().words
    print(f"{'':66} {'ours':>11} {'theirs':>11} {'ratio':>8}")
    with tempfile.TemporaryDirectory() as name:
        measure(Path(name))
