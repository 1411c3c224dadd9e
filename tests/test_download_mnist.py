"""Downloading MNIST, as a command, from a server of our own: what is made, and what is left after every fault."""

import contextlib
import gzip
import hashlib
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import download_mnist
import numpy as np
import pytest
from conftest import REPO, error_line, run
from PIL import Image

from data_tocsv import InputError, read_csv

PARTS = {"training": ("train", 30), "testing": ("t10k", 20)}  # our folders; how MNIST's files begin, images
posix = pytest.mark.skipif(os.name != "posix", reason="signals and limits as POSIX has them")


# A small MNIST, and a server that gives it in many ways.


def oval(width):
    """Return a picture like MNIST's (28, 28): a ring 20 pixels high and 2 `width` wide, in the middle, on black."""
    y, x = np.indices((28, 28)) - 13.5
    return np.clip(900 - 3000 * np.abs(np.hypot(x / width, y / 8.5) - 0.85), 0, 255).astype(np.uint8)


def originals(part):
    """Return the images (n, 28, 28) and the labels (n,) of a part, each image unlike the others."""
    count = PARTS[part][1]
    return np.array([oval(width) for width in np.linspace(3, 8, count)]), np.arange(count, dtype=np.uint8) * 7 % 10


def idx(array):
    """Return an array as a gzipped IDX file."""
    return gzip.compress(struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes())


def idx_files(parts):
    """Return MNIST's four files, by name; parts: images and labels, by the folder that they are to go to."""
    files = {}
    for part, (images, labels) in parts.items():
        files[f"{PARTS[part][0]}-images-idx3-ubyte.gz"] = idx(images)
        files[f"{PARTS[part][0]}-labels-idx1-ubyte.gz"] = idx(labels)
    return files


def sums(files):
    """Return the table of sizes and sums that the script checks the files by."""
    return {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in files.items()}


FILES = idx_files({part: originals(part) for part in PARTS})


class Handler(BaseHTTPRequestHandler):
    """Gives a file in the way that the folder in its URL says: /whole/NAME, /short/NAME, ..."""

    def do_GET(self):
        _, way, name = self.path.split("/")
        self.server.asked.append((way, name))
        data = self.server.files[name]
        if way == "missing":
            return self.send_error(404)
        self.send_response(200)
        if way == "page":
            data = b"\n<!DOCTYPE html><title>Log in</title>"
        elif way == "wrong":
            data = data[:-1] + bytes([data[-1] ^ 1])
        if way in ("short", "stalled"):
            self.send_header("Content-Length", str(len(data)))
            data = data[:-10]
        self.end_headers()
        try:
            self.wfile.write(data)
            if way == "stalled":
                self.server.over.wait()
            while way == "endless" and not self.server.over.wait(0.01):
                self.wfile.write(bytes(1000))
        except OSError:
            pass  # who asked has gone

    def log_message(self, *_):
        """Keep stderr for the tests."""


@pytest.fixture
def server():
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.files, server.asked, server.over = FILES, [], threading.Event()
        server.url = f"http://127.0.0.1:{server.server_port}/"
        threading.Thread(target=server.serve_forever, args=[0.02]).start()
        yield server
        server.over.set()
        server.shutdown()


@pytest.fixture
def datasets(tmp_path):
    """An empty folder that mnist is to be made in."""
    (tmp_path / "datasets").mkdir()
    return tmp_path / "datasets"


# The script, told of our server.


@contextlib.contextmanager
def start(datasets, mirrors, *args, files=FILES, before="", **options):
    """Start the script with other mirrors, sums and target, after the code in `before`; yield it (Popen)."""
    code = f"""
import sys
sys.path.insert(0, {str(REPO / "datasets")!r})
import download_mnist as script
sys.argv[0] = script.__file__
script.MIRRORS, script.FILES, script.TIMEOUT = {mirrors!r}, {sums(files)!r}, 1
script.TARGET = script.Path({str(datasets / "mnist")!r})
{before}
script.run(lambda: script.main({args!r}))
"""
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "encoding": "utf-8"} | options
    environment = {**os.environ, "no_proxy": "*"}
    with subprocess.Popen([sys.executable, "-c", code], cwd=datasets.parent, env=environment, **options) as process:
        try:
            yield process
        finally:
            process.kill()  # where a test has failed, it may still run


def download(*args, **options):
    """Run the script to its end and return it (CompletedProcess)."""
    with start(*args, **options) as process:
        stdout, stderr = process.communicate(timeout=30)
    assert "Traceback" not in stderr and "Exception" not in stderr, stderr
    return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)


def assert_whole(datasets):
    """Check that `datasets` holds mnist and nothing else, and that each picture is where it belongs."""
    assert [path.name for path in datasets.iterdir()] == ["mnist"]
    assert sorted(path.name for path in (datasets / "mnist").iterdir()) == ["testing", "training"]
    for part in PARTS:
        folder, (images, labels) = datasets / "mnist" / part, originals(part)
        assert sorted(path.name for path in folder.iterdir()) == list("0123456789")
        expected = {f"{label}/{index}.jpg" for index, label in enumerate(labels)}
        assert {path.relative_to(folder).as_posix() for path in folder.glob("*/*")} == expected
        for index, label in enumerate(labels):
            with Image.open(folder / str(label) / f"{index}.jpg") as picture:
                assert (picture.format, picture.mode) == ("JPEG", "L")
                distances = np.abs(images.astype(float) - np.asarray(picture)).mean(axis=(1, 2))
            assert distances.argmin() == index and distances.min() < 3


def assert_nothing(datasets):
    """Check that neither mnist nor a temporary folder is left."""
    assert list(datasets.iterdir()) == []


def wait_for(condition, process):
    """Wait until condition() while the script runs."""
    limit = time.monotonic() + 30
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < limit
        time.sleep(0.005)


# What is made.


def test_mnist_becomes_folders_of_jpgs_named_by_their_index(server, datasets):
    result = download(datasets, [server.url + "whole/"])
    assert (result.returncode, result.stdout) == (0, "")
    made, last = result.stderr.splitlines()
    assert made == f"{datasets / 'mnist'}: 30 training and 20 testing pictures"
    assert last == "next: python data_tocsv.py"
    assert_whole(datasets)
    assert server.asked == [("whole", name) for name in FILES]  # each once


def test_data_tocsv_takes_the_folders_without_being_told(server, datasets):
    download(datasets, [server.url + "whole/"])
    run("data_tocsv.py", cwd=datasets.parent, check=0)
    for part, name in (("training", "train_images.csv"), ("testing", "test_images.csv")):
        images, labels = originals(part)
        order = np.argsort(labels, kind="stable")  # by digit, then by index: 2 before 10
        read_labels, pixels = read_csv(datasets / name)
        assert (read_labels == labels[order]).all()
        assert np.abs(pixels.reshape(-1, 28, 28) - images[order].astype(float)).mean(axis=(1, 2)).max() < 3


def test_a_second_run_says_that_it_is_there_and_asks_nobody(server, datasets):
    download(datasets, [server.url + "whole/"])
    server.asked.clear()
    result = download(datasets, [server.url + "whole/"])
    there, last = result.stderr.splitlines()
    assert result.returncode == 0
    assert there == f"{datasets / 'mnist'}: already there, 30 training and 20 testing pictures"
    assert last == "next: python data_tocsv.py"
    assert server.asked == []
    assert_whole(datasets)


def test_a_folder_in_the_way_that_is_not_mnist_is_left_alone_and_named(server, datasets):
    (datasets / "mnist" / "training").mkdir(parents=True)
    line = error_line(download(datasets, [server.url + "whole/"]))
    assert "no sub-folder" in line and f"move {datasets / 'mnist'} away and run this again" in line
    assert [path.name for path in datasets.rglob("*")] == ["mnist", "training"]


def test_quiet_says_nothing(server, datasets):
    result = download(datasets, [server.url + "whole/"], "-q")
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")
    assert_whole(datasets)


@pytest.mark.parametrize("way", ["whole", "stalled"])
def test_a_terminal_shows_progress_and_then_only_lines(way, server, datasets):
    fcntl, pty, termios, _ = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios", "tqdm"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))  # rows and columns
    with start(datasets, [server.url + way + "/"], stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while chunk := read_terminal(ours):
            shown += chunk
        process.wait(timeout=30)
    os.close(ours)
    assert b"train-images-idx3-ubyte.gz:" in shown and b" kB" in shown
    assert (b"training:" in shown and b" pictures" in shown) == (way == "whole")
    *_, last = shown.decode().splitlines()
    assert last.startswith("next: " if way == "whole" else "download_mnist.py: error: train-images")


def read_terminal(terminal):
    """Return what has been written to a terminal (bytes), b"" at its end."""
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux's word for the end
        return b""


def test_the_script_itself_has_help_that_tells_what_it_makes(tmp_path):
    result = run("datasets/download_mnist.py", "-h", cwd=tmp_path, check=0)
    assert "datasets/mnist" in result.stdout and "example: python datasets/download_mnist.py" in result.stdout


# Faults of the network and of the mirrors.

FAULTS = {
    "wrong": "wrong SHA-256 sum",
    "short": f"{len(FILES['train-images-idx3-ubyte.gz']) - 10:,} bytes, not",
    "endless": "more than",
    "page": "an HTML page in place of the file",
    "missing": "HTTP Error 404: Not Found",
    "stalled": "timed out",
}


@pytest.mark.parametrize("way", FAULTS)
def test_a_file_that_does_not_come_whole_ends_in_one_line_and_nothing_made(way, server, datasets):
    mirror = f"{server.url}{way}/"
    line = error_line(download(datasets, [mirror]))
    assert line.startswith(f"download_mnist.py: error: train-images-idx3-ubyte.gz: {mirror}: {FAULTS[way]}")
    assert line.endswith(
        f"try again later, or put MNIST's JPGs into {datasets / 'mnist'} by hand, "
        "in training/0 ... 9 and testing/0 ... 9"
    )
    assert_nothing(datasets)


@pytest.fixture
def nobody():
    """The URL of a mirror that refuses connections: a port that is taken, with nobody listening."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}/"


def test_without_a_network_the_line_tells_the_reason_of_every_mirror(nobody, server, datasets):
    line = error_line(download(datasets, [nobody, server.url + "missing/"]))
    assert "train-images-idx3-ubyte.gz: " in line
    assert f"{nobody}: Connection refused; {server.url}missing/: HTTP Error 404: Not Found: try again" in line
    assert_nothing(datasets)


@pytest.mark.parametrize("way", ["wrong", "stalled"])
def test_where_the_first_mirror_fails_the_second_takes_over(way, server, datasets):
    result = download(datasets, [f"{server.url}{way}/", server.url + "whole/"])
    assert result.returncode == 0, result.stderr
    assert_whole(datasets)
    assert [name for asked, name in server.asked if asked == "whole"] == list(FILES)
    assert len(server.asked) == 5  # the first mirror is not tried, and waited for, with every file


def test_where_nobody_answers_the_second_mirror_takes_over(nobody, server, datasets):
    assert download(datasets, [nobody, server.url + "whole/"]).returncode == 0
    assert_whole(datasets)


@pytest.mark.parametrize(
    "labels",
    [
        b"not gzip",
        gzip.compress(b""),
        gzip.compress(b"not IDX"),
        idx(np.zeros(20, ">u2")),
        idx(np.zeros(19, np.uint8)),
        idx(np.full(20, 10, np.uint8)),
    ],
    ids=["not gzip", "empty", "not IDX", "too long", "a label missing", "label 10"],
)
def test_a_file_that_is_not_mnist_though_its_sum_is_right_is_refused(labels, server, datasets, monkeypatch):
    server.files = FILES | {"t10k-labels-idx1-ubyte.gz": labels}
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(download_mnist, "MIRRORS", [server.url + "whole/"])
    monkeypatch.setattr(download_mnist, "FILES", sums(server.files))
    monkeypatch.setattr(download_mnist, "TARGET", datasets / "mnist")
    with pytest.raises(InputError, match=r"t10k-\*.gz: not n images and n digits .*: check FILES"):
        download_mnist.make_mnist(quiet=True)
    assert_nothing(datasets)


# Faults on our side.


@pytest.fixture
def small_disk(datasets):
    """A disk with room for 16 pictures, in place of `datasets`."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", datasets]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a disk cannot be mounted here")
    yield datasets
    subprocess.run(["umount", datasets], check=True)


def test_a_full_disk_is_named_and_left_as_it_was(server, small_disk):
    line = error_line(download(small_disk, [server.url + "whole/"]))
    assert line.startswith(f"download_mnist.py: error: {small_disk / 'mnist'}: No space left on device: ")
    assert line.endswith("with 300 MB free")
    assert_nothing(small_disk)


@posix
def test_a_picture_that_cannot_be_written_leaves_nothing_behind(server, datasets):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))"
    line = error_line(download(datasets, [server.url + "whole/"], before=limit))
    assert f"{datasets / 'mnist'}: File too large" in line
    assert_nothing(datasets)


def test_a_folder_that_nothing_can_be_made_in_is_found_before_anything_is_fetched(server, datasets):
    datasets.rmdir()
    line = error_line(download(datasets, [server.url + "whole/"]))
    assert f"error: {datasets / 'mnist'}: " in line and "writable" in line
    assert server.asked == []


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_it_downloads_leaves_nothing_behind(name, server, datasets):
    number = signal.Signals[name]
    with start(datasets, [server.url + "stalled/"], before="script.TIMEOUT = 60") as process:
        wait_for(lambda: server.asked, process)
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (128 + number, "")
    assert stderr == f"stopped: run this again to make {datasets / 'mnist'}\n"
    assert_nothing(datasets)


@posix
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_while_it_unpacks_leaves_nothing_behind(name, server, datasets):
    number = signal.Signals[name]
    many = np.zeros((20_000, 28, 28), np.uint8), np.zeros(20_000, np.uint8)  # some seconds of work
    server.files = idx_files(dict.fromkeys(PARTS, many))
    with start(datasets, [server.url + "whole/"], files=server.files) as process:
        wait_for(lambda: any(datasets.glob(".*/mnist/training/0/9.jpg")), process)
        assert not (datasets / "mnist").exists()  # data_tocsv.py would take it for whole
        process.send_signal(number)
        stdout, stderr = process.communicate(timeout=20)
    assert (process.returncode, stdout) == (128 + number, "")
    assert stderr == f"stopped: run this again to make {datasets / 'mnist'}\n"
    assert_nothing(datasets)
