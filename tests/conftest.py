"""What the tests share: running a script as its user would, and a small network to read digits with."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for small networks: on a busy machine threads wait for one another

import numpy as np  # noqa: E402
import pytest  # noqa: E402

REPO = Path(__file__).resolve().parents[1]
SAMPLE = REPO / "datasets" / "sample"
sys.path[:0] = [str(REPO), str(REPO / "datasets")]
signal.signal(signal.SIGINT, signal.default_int_handler)  # in a shell's background job it would be ignored
if hasattr(signal, "SIGHUP"):
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # after nohup, too


FULL = bool(os.environ.get("FULL"))  # tests at full size: some twenty minutes
posix = pytest.mark.skipif(os.name == "nt", reason="signals, limits and special files are POSIX's")
linux = pytest.mark.skipif(not os.path.exists("/proc/self/environ"), reason="looks for processes in /proc")


def run(script, *args, cwd, check=None, **options):
    """Run a script of ours to its end; `check` is the exit status that it must have."""
    command = [sys.executable, REPO / script, *args]
    result = subprocess.run(command, cwd=cwd, capture_output=True, text=True, encoding="utf-8", timeout=120, **options)
    assert "Traceback" not in result.stderr, result.stderr
    assert check is None or result.returncode == check, result.stderr
    return result


def error_line(result):
    """Return the one line on stderr that says why nothing was done."""
    assert result.returncode == 2, (result.stdout, result.stderr)
    (line,) = result.stderr.splitlines()
    return line


CLEAR = [0, 6, 1, 0, 1, 1, 0, 1, 0, 2]  # of each digit's drawings: networks of any seed read it, with 98 % or more


def drawn(digit, index=0):
    """Return the path of a drawn picture of `digit` that no network of the tests has learned from."""
    paths = sorted((SAMPLE / "testing" / str(digit)).iterdir())
    return paths[(CLEAR[int(digit)] + index) % len(paths)]


def write_rows(path, count=200, seed=0):
    """Write a CSV file of random images whose label stands out of them, and return its rows (count, 785)."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 60, (count, 785))
    rows[:, 0] = np.arange(count) % 10
    for row in rows:
        row[1 + 78 * row[0] : 79 + 78 * row[0]] = 255
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")
    return rows


def mutate(data, other, rng):
    """Return `data` cut, flipped, spliced with another file, filled with zeros, or with that file's head."""
    data, at = bytearray(data), rng.randrange(len(data))
    length = rng.randrange(1, 1 + len(data) - at)
    kind = rng.randrange(6)
    if kind == 0:
        return bytes(data[:at])
    if kind == 1:
        for _ in range(rng.choice((1, 1, 4, 30))):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == 2:
        data[at:] = other[min(at, len(other)) :]
    elif kind == 3:
        data[at : at + length] = bytes(length)
    elif kind == 4:
        data[: min(at, 40)] = other[: min(at, 40)]
    else:
        del data[at : at + length]
    return bytes(data)


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """The path of a network that has learned the drawn sample in a few seconds."""
    folder = tmp_path_factory.mktemp("network")
    run("data_tocsv.py", SAMPLE, "-o", folder, cwd=folder, check=0)
    csvs = ["--train", folder / "train_images.csv", "--test", folder / "test_images.csv"]
    run("train_network.py", *csvs, "--epochs", "60", cwd=folder, check=0)
    return folder / "network.npz"


@pytest.fixture
def predict(tmp_path, network):
    """Run predict.py in a folder that holds a trained network."""
    shutil.copy(network, tmp_path / "network.npz")
    return lambda *args, **options: run("predict.py", *args, cwd=tmp_path, **options)


@pytest.fixture
def folder(tmp_path):
    """A folder `mixed` of five pictures, in sub-folders that are no digits."""
    for name, digit in (("b/2.jpg", 3), ("b/10.jpg", 4), ("a.jpg", 5), ("b/c/x.jpg", 6), ("z.jpg", 7)):
        path = tmp_path / "mixed" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(drawn(digit), path)
    return tmp_path / "mixed"


@pytest.fixture
def mnist():
    """The folder of MNIST's JPGs, where the environment variable MNIST_JPG names it."""
    if "MNIST_JPG" not in os.environ:
        pytest.skip("MNIST_JPG does not name the folder of MNIST's JPGs")
    return Path(os.environ["MNIST_JPG"])
