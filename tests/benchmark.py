"""How fast are the scripts, and how much memory do they take? One table, each line ours beside a floor or a peer.

    python tests/benchmark.py [WORD ...]        only the lines that have one of the words in them

The two sides of a line run in turn, several times, and the ratio is the median of the rounds' ratios: machines are
noisy, but their noise is mostly the same for two runs in a row. A peer that is not installed is passed over
(tests/benchmark-requirements.txt has them all). Where the environment variable MNIST_JPG names the folder of MNIST's
JPGs they are used; elsewhere as many pictures of the drawn sample.
"""

import importlib.util
import itertools
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageOps

REPO = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(REPO))

import train_network  # noqa: E402
from data_tocsv import find_pictures, read_csv, read_image, to_csv  # noqa: E402

PYTHON = [sys.executable]
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # as it is for users


def compare(name, limit, ours, theirs, rounds=5):
    """Run `ours` and `theirs` (functions) in turn, and print a line with their times and ratio."""
    if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
        return
    try:
        seconds = np.array([[clock(ours), clock(theirs)] for _ in range(rounds)])
    except ModuleNotFoundError as error:
        print(f"{name:62} passed over: {error.name} is not installed", flush=True)
        return
    ratio = statistics.median(seconds[:, 0] / seconds[:, 1])
    mine, other = np.median(seconds, axis=0)
    print(f"{name:62} {mine:9.4f} s {other:9.4f} s {ratio:8.2f}   at most {limit}", flush=True)


def clock(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def shell(*command, needs=()):
    """Return a function that runs a command to its end; `needs` names modules that are not ours."""
    command = list(map(str, command))

    def run():
        for name in needs:
            if not importlib.util.find_spec(name):
                raise ModuleNotFoundError(name=name)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    return run


def print_memory(name, limit, *command):
    """Run a command and print the most memory that it and its child processes took together (RSS, Linux only)."""
    if sys.argv[1:] and not any(word in name for word in sys.argv[1:]):
        return
    if not os.path.exists("/proc/self/statm"):
        print(f"{name:62} passed over: no /proc here")
        return
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    peak = 0
    while process.poll() is None:
        peak = max(peak, memory_of(process.pid))
        time.sleep(0.005)
    print(f"{name:62} {peak / 1e6:9.0f} MB {'':18}    at most {limit}", flush=True)


def memory_of(pid):
    """Return the resident bytes of a process and its children; 0 if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except OSError:
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(map(memory_of, children))


# Data.


def make_data(folder):
    """Write train.csv, test.csv and a folder `jpgs` of 10,000 pictures; return the training labels and pixels."""
    source = Path(os.environ.get("MNIST_JPG", REPO / "datasets" / "sample"))
    shell(*PYTHON, REPO / "data_tocsv.py", source, "-o", folder)()
    labels, pixels = (np.resize(array, (60_000, *array.shape[1:])) for array in read_csv(folder / "train_images.csv"))
    (folder / "train.csv").write_bytes(to_csv(np.column_stack([labels, pixels])))
    for part, word, count in (("training", "train", 10_000), ("testing", "test", 10)):
        paths = find_pictures(source, word)
        paths = itertools.cycle(paths[:: max(1, len(paths) // count)])  # of all digits
        for index, path in zip(range(count), paths):
            target = folder / "jpgs" / part / str(index % 10)
            target.mkdir(parents=True, exist_ok=True)
            (target / f"{index}.jpg").write_bytes(Path(path).read_bytes())
    return labels, pixels


# Epochs.


def eight_products(labels, _pixels):
    """Return a function that does the matrix products of an epoch, and nothing else."""
    rng = np.random.default_rng(0)
    sizes = {"X": (784, 128), "W1": (256, 784), "A1": (256, 128), "W2": (64, 256), "A2": (64, 128)}
    sizes |= {"W3": (10, 64), "D3": (10, 128), "D2": (64, 128), "D1": (256, 128)}
    X, W1, A1, W2, A2, W3, D3, D2, D1 = (rng.random(size, np.float32) for size in sizes.values())

    def products():
        for _ in range(-(-len(labels) // 128)):
            W1 @ X, W2 @ A1, W3 @ A2
            D3 @ A2.T, W3.T @ D3, D2 @ A1.T, W2.T @ D2, D1 @ X.T

    return products


def plain_epoch(labels, pixels):
    """Return a function that trains for an epoch as train_network.py does, but without distortion."""
    return default_epoch(labels, pixels, distortion=False)


def default_epoch(labels, pixels, **changes):
    """Return a function that trains for an epoch as train_network.py does by default, but for the changes."""

    def epoch():
        rng = np.random.default_rng(1)
        params = train_network.init_params(rng)
        list(train_network.train(params, pixels, labels, rng, epochs=1, **changes))

    return epoch


def torch_epoch(labels, pixels):
    """Return a function that does a plain epoch in PyTorch: the same network, batch and optimiser, on the CPU."""
    made = []

    def epoch():
        import torch

        if not made:
            made.extend([torch.tensor(pixels).float() / 255, torch.tensor(labels).long()])
        X, y = made
        layers = torch.nn.Linear(784, 256), torch.nn.ReLU(), torch.nn.Linear(256, 64), torch.nn.ReLU()
        model = torch.nn.Sequential(*layers, torch.nn.Linear(64, 10))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        order = torch.randperm(len(y))
        for start in range(0, len(y), 128):
            batch = order[start : start + 128]
            optimizer.zero_grad()
            torch.nn.functional.cross_entropy(model(X[batch]), y[batch]).backward()
            optimizer.step()

    return epoch


def sklearn_epoch(labels, pixels):
    """Return a function that does an epoch in scikit-learn."""
    X = pixels.astype(np.float32) / 255

    def epoch():
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.neural_network import MLPClassifier
        from sklearn.utils._testing import ignore_warnings

        options = {"solver": "sgd", "batch_size": 128, "learning_rate_init": 0.01, "nesterovs_momentum": False}
        model = MLPClassifier((256, 64), max_iter=1, alpha=0, **options)
        ignore_warnings(category=ConvergenceWarning)(model.fit)(X, labels)

    return epoch


EPOCHS = {f.__name__: f for f in (plain_epoch, default_epoch, eight_products, torch_epoch, sklearn_epoch)}


def start_epochs(kind, threads, data):
    """Start a process that has so many BLAS threads (None: its default); return a function that does an epoch there."""
    variables = "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"
    env = {name: value for name, value in os.environ.items() if name not in variables}
    command = [*PYTHON, __file__, "--epochs", kind, data]
    env |= dict.fromkeys(variables, threads) if threads else {}
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env)

    def epoch():
        print(file=process.stdin, flush=True)
        answer = process.stdout.readline().strip()
        if answer != "done":
            raise ModuleNotFoundError(name=answer)

    return epoch


def serve_epochs(kind, data):
    """Do an epoch for every line of standard input."""
    with np.load(data) as arrays:
        epoch = EPOCHS[kind](arrays["labels"], arrays["pixels"])
    for _ in sys.stdin:
        try:
            epoch()
            print("done", flush=True)
        except ModuleNotFoundError as error:
            print(error.name, flush=True)


def busy(function):
    """Return a function that does the same while another process spins on one core."""

    def run():
        spinning = subprocess.Popen([*PYTHON, "-c", "while True: pass"])
        try:
            function()
        finally:
            spinning.kill()
            spinning.wait()

    return run


def compare_epochs(data):
    """Print the lines about epochs: ours with one BLAS thread, as in train_network.py, the others with one and more.

    Each once more while another process spins on one core, beside itself in quiet.
    """
    plain, default = (start_epochs(kind, "1", data) for kind in ("plain_epoch", "default_epoch"))
    for threads, words in ("1", "one thread"), (None, "default threads"):
        products, torch, sklearn = (
            start_epochs(kind, threads, data) for kind in ("eight_products", "torch_epoch", "sklearn_epoch")
        )
        for epoch in (plain, default, products):
            epoch()  # what is loaded late is loaded then
        compare(f"plain epoch / its eight matrix products, {words}", 1.25 if threads else "-", plain, products, 7)
        compare(f"plain epoch / PyTorch's, {words}", 0.70, plain, torch)
        compare(f"plain epoch / scikit-learn's, {words}", 0.70, plain, sklearn)
        compare(f"default epoch / PyTorch's plain one, {words}", "-" if threads else 1.0, default, torch)
        compare(f"eight matrix products, one core busy / in quiet, {words}", "-", busy(products), products)
        compare(f"PyTorch's epoch, one core busy / in quiet, {words}", "-", busy(torch), torch)
    compare("plain epoch, one core busy / in quiet", 2.0, busy(plain), plain)
    compare("default epoch, one core busy / in quiet", 2.0, busy(default), default)


# Files.


def pandas_read(path):
    import pandas

    pandas.read_csv(path, header=None, dtype=np.uint8).to_numpy()


def polars_read(path):
    import polars

    polars.read_csv(path, has_header=False, schema={f"p{i}": polars.UInt8 for i in range(785)}).to_numpy()


DECODE = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
for path in Path(sys.argv[1]).rglob("*.jpg"):
    np.asarray(Image.open(path).convert("L"))
"""
CONVERT = """
import sys
from pathlib import Path
import numpy as np
from PIL import Image
rows = []
for path in sorted(Path(sys.argv[1]).rglob("*.jpg")):
    rows.append([int(path.parent.name), *np.asarray(Image.open(path).convert("L")).ravel()])
np.savetxt(sys.argv[2], rows, fmt="%d", delimiter=",")
"""
CONVERT_WITH_OPENCV = """
import sys
from pathlib import Path
import cv2, numpy, polars
paths = sorted(Path(sys.argv[1]).rglob("*.jpg"))
pixels = [cv2.imread(str(path), cv2.IMREAD_GRAYSCALE).ravel() for path in paths]
labels = numpy.array([int(path.parent.name) for path in paths], numpy.uint8)
polars.DataFrame(numpy.column_stack([labels, pixels])).write_csv(sys.argv[2], include_header=False)
"""


def main():
    print(f"{'':62} {'ours':>11} {'theirs':>11} {'ratio':>8}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        labels, pixels = make_data(folder)
        jpgs, train_csv, network = folder / "jpgs", folder / "train.csv", folder / "network.npz"
        few = folder / "few"
        few.mkdir()
        paths = sorted((jpgs / "training").rglob("*.jpg"))
        for path in paths[:100]:
            os.link(path, few / path.name)
        with open(network, "wb") as file:
            train_network.save_network(train_network.init_params(np.random.default_rng(0)), file)

        np.savez(folder / "data.npz", labels=labels, pixels=pixels)
        compare_epochs(folder / "data.npz")

        read = lambda: read_csv(train_csv)  # noqa: E731
        compare("reading the CSV file / pandas", 1.0, read, lambda: pandas_read(train_csv), 3)
        compare("reading the CSV file / polars", 1.0, read, lambda: polars_read(train_csv), 3)
        rows = np.column_stack([labels, pixels])[:20_000]
        out = folder / "out.csv"
        write = lambda: out.write_bytes(b"".join(to_csv(rows[i : i + 64]) for i in range(0, len(rows), 64)))  # noqa: E731
        compare("writing CSV / np.savetxt", 0.25, write, lambda: np.savetxt(out, rows, "%d", ","), 3)
        convert = shell(*PYTHON, REPO / "data_tocsv.py", jpgs, "-q", "-o", folder)
        obvious = shell(*PYTHON, "-c", CONVERT, jpgs, out)
        opencv = shell(*PYTHON, "-c", CONVERT_WITH_OPENCV, jpgs, out, needs=("cv2", "polars"))
        compare("converting 10,000 JPGs / a script of Pillow and np.savetxt", 0.45, convert, obvious)
        compare("converting 10,000 JPGs / a script of OpenCV and polars", 1.5, convert, opencv)

        predict = [*PYTHON, REPO / "predict.py", "-q", "--network", network]
        imports = shell(*PYTHON, "-c", "import numpy, PIL.Image")
        compare(
            "one image, from shell to answer / import numpy, PIL.Image", 1.5, shell(*predict, paths[0]), imports, 15
        )
        decode = shell(*PYTHON, "-c", DECODE, jpgs)
        compare("a folder of 10,000 / decoding it in one process", 1.4, shell(*predict, jpgs), decode, 7)
        ours = lambda: [read_image(path) for path in paths]  # noqa: E731
        theirs = lambda: [np.asarray(Image.open(path).convert("L")) for path in paths]  # noqa: E731
        compare("read_image of 10,000 JPGs of 28 x 28 / Image.open(path)", "-", ours, theirs, 3)
        inverted, own = make_pictures(folder, paths)
        ours = lambda: [read_image(path) for path in inverted]  # noqa: E731
        theirs = lambda: [read_image(path) for path in paths[:1000]]  # noqa: E731
        compare("read_image of black on white, 28 x 28 / MNIST's own", 12, ours, theirs)
        ours = lambda: [read_image(path) for path in own]  # noqa: E731
        theirs = lambda: [np.asarray(Image.open(path).convert("L")) for path in own]  # noqa: E731
        compare("read_image of people's own pictures / decoding alone", 2, ours, theirs)
        photo = folder / "photo.jpg"
        make_photo(photo)
        compare("a photo of 12 megapixels, from shell to answer / imports", "0.3 s", shell(*predict, photo), imports)

        train = [*PYTHON, REPO / "train_network.py", "--train", train_csv, "--test", folder / "test_images.csv"]
        print_memory("memory: training on 60,000 images", "350 MB", *train, "--epochs", 2, "-q", "-o", folder / "n.npz")
        source = os.environ.get("MNIST_JPG", jpgs)
        print_memory(
            "memory: converting, workers counted", "200 MB", *PYTHON, REPO / "data_tocsv.py", source, "-o", folder
        )
        print_memory("memory: predicting 100 pictures", "-", *predict, few)
        print_memory("memory: predicting 10,000 pictures, workers counted", "flat", *predict, jpgs)
        print_memory("memory: predicting a photo of 12 megapixels", "250 MB", *predict, photo)


def make_pictures(folder, paths):
    """Return the paths of 1,000 pictures as PNGs, inverted, and of people's own, or else of drawn digits made large."""
    inverted = [folder / f"inverted {index}.png" for index in range(1000)]
    for path, target in zip(paths, inverted):
        with Image.open(path) as picture:
            ImageOps.invert(picture).save(target)
    own = sorted((REPO.parent / "shared" / "wild").glob("[0-9]/*"))
    for index, path in enumerate(inverted[::10] if not own else ()):
        own.append(folder / f"large {index}.png")
        with Image.open(path) as picture:
            picture.convert("RGB").resize((800, 800), Image.Resampling.BICUBIC).save(own[-1])
    return inverted, own


def make_photo(path):
    """Write a JPG of 4000 x 3000 pixels: a 7 in pencil on grainy paper, in uneven light."""
    rng = np.random.default_rng(0)
    light = np.linspace(120, 220, 4000) + np.linspace(0, 30, 3000)[:, np.newaxis]
    paper = Image.fromarray(np.uint8(np.clip(light + rng.normal(0, 4, light.shape), 0, 255)))
    ImageDraw.Draw(paper).line([(1500, 900), (2400, 900), (1900, 2200)], fill=70, width=60, joint="curve")
    paper.convert("RGB").save(path, quality=90)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--epochs"]:
        serve_epochs(*sys.argv[2:])
    else:
        main()
