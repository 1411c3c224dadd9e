"""What the tests share: running a script as a user would, and a small trained network."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # for small networks: on a busy machine threads wait for one another
os.environ.pop("PYTHONUNBUFFERED", None)  # it would hide what is not flushed

import numpy as np  # noqa: E402
import pytest  # noqa: E402

REPO = Path(__file__).resolve().parents[1]
SAMPLE = REPO / "datasets" / "sample"
sys.path[:0] = [str(REPO), str(REPO / "datasets")]
signal.signal(signal.SIGINT, signal.default_int_handler)  # in a shell's background job it is ignored

posix = pytest.mark.skipif(os.name == "nt", reason="needs POSIX's signals, pipes and file names")


def command(script, *args):
    """Return the command that runs one of our scripts."""
    return [sys.executable, REPO / script, *args]


def run(script, *args, cwd, check=None, **options):
    """Run one of our scripts to its end; `check` is the expected exit status."""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8", "timeout": 120} | options
    result = subprocess.run(command(script, *args), cwd=cwd, **options)
    assert "Traceback" not in (result.stderr or ""), result.stderr
    assert check is None or result.returncode == check, result.stderr
    return result


def error_line(result):
    """Return the one line on stderr that says why nothing was done."""
    assert result.returncode == 2, (result.stdout, result.stderr)
    (line,) = result.stderr.splitlines()
    return line


CLEAR = [0, 6, 1, 0, 1, 1, 0, 1, 0, 2]  # for each digit, a drawing that networks of any seed read


def drawn(digit, index=0):
    """Return the path of a drawn picture of `digit` that no network here is trained on."""
    paths = sorted((SAMPLE / "testing" / str(digit)).iterdir())
    return paths[(CLEAR[int(digit)] + index) % len(paths)]


def write_random_csv(path, count=200, seed=0):
    """Write a CSV file of random images, each with a bright band that shows its label."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, 60, (count, 785))
    rows[:, 0] = np.arange(count) % 10
    for row in rows:
        row[1 + 78 * row[0] : 79 + 78 * row[0]] = 255
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="session")
def network(tmp_path_factory):
    """The path of a network trained on the drawn sample for a few seconds."""
    import data_tocsv
    import train_network

    folder = tmp_path_factory.mktemp("network")
    data_tocsv.main([str(SAMPLE), "-o", str(folder), "-q"])
    options = [f"--{part}={folder}/{part}_images.csv" for part in ("train", "test")]
    train_network.main([*options, "--epochs=30", "-q", "-o", str(folder / "network.npz")])
    return folder / "network.npz"


@pytest.fixture
def digits(tmp_path, monkeypatch, network):
    """Work in a folder with network.npz and `mixed`, five pictures in sub-folders that are not named after digits."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(network, "network.npz")
    os.makedirs("mixed/b/c")
    for name, digit in (("b/2.jpg", 3), ("b/10.jpg", 4), ("a.jpg", 5), ("b/c/x.jpg", 6), ("z.jpg", 7)):
        shutil.copy(drawn(digit), f"mixed/{name}")
    return tmp_path
