"""Downloading MNIST from a local server: all of it arrives, or nothing."""

import functools
import gzip
import hashlib
import struct
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import Mock

import download_mnist
import numpy as np
import pytest
from PIL import Image

from data_tocsv import InputError

COUNTS = {"train": 30, "t10k": 20}


def idx(array):
    """Return an array as a gzipped IDX file."""
    return gzip.compress(struct.pack(f">{1 + array.ndim}I", 0x800 + array.ndim, *array.shape) + array.tobytes())


def images(prefix):
    """Return images, (n, 28, 28), each with its own grey, and labels, (n,)."""
    index = np.arange(COUNTS[prefix], dtype=np.uint8)
    return np.broadcast_to(7 * index[:, None, None], (len(index), 28, 28)), index * 7 % 10


FILES = {}
for name in COUNTS:
    FILES[f"{name}-images-idx3-ubyte.gz"], FILES[f"{name}-labels-idx1-ubyte.gz"] = map(idx, images(name))


@pytest.fixture
def download(tmp_path, tmp_path_factory, monkeypatch):
    """A function that downloads into tmp_path / "mnist"; its arguments are the ways in which the mirrors give files."""
    folder = tmp_path_factory.mktemp("server")
    for name, data in FILES.items():
        ways = {"whole": data, "short": data[:-1], "long": data + b"x", "changed": data[:-1] + b"x"}
        for way, given in ways.items():
            (folder / way).mkdir(exist_ok=True)
            (folder / way / name).write_bytes(given)
    sums = {name: (len(data), hashlib.sha256(data).hexdigest()) for name, data in FILES.items()}
    monkeypatch.setattr(download_mnist, "FILES", sums)
    monkeypatch.setattr(download_mnist, "TARGET", tmp_path / "mnist")
    monkeypatch.setenv("no_proxy", "*")

    def download(*ways):
        mirrors = [f"http://127.0.0.1:{server.server_port}/{way}/" for way in ways]
        monkeypatch.setattr(download_mnist, "MIRRORS", mirrors)
        return download_mnist.main(["-q"])

    handler = functools.partial(SimpleHTTPRequestHandler, directory=folder)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, args=[0.02]).start()
        yield download
        server.shutdown()


@pytest.mark.parametrize("ways", [["whole"], ["missing", "whole"], ["changed", "whole"]])
def test_all_pictures_arrive_though_the_first_mirror_fails(tmp_path, download, ways, capsys):
    assert download(*ways) == 0
    assert download_mnist.main([]) == 0
    err = capsys.readouterr().err
    assert "exists already" in err and err.endswith("next: python data_tocsv.py datasets/mnist datasets/sample\n")
    assert [path.name for path in tmp_path.iterdir()] == ["mnist"]
    for part, prefix in ("training", "train"), ("testing", "t10k"):
        assert sorted(path.name for path in (tmp_path / "mnist" / part).iterdir()) == list("0123456789")
        assert len(list((tmp_path / "mnist" / part).glob("*/*"))) == COUNTS[prefix]
        for index, (image, label) in enumerate(zip(*images(prefix))):
            with Image.open(tmp_path / "mnist" / part / str(label) / f"{index}.jpg") as picture:
                assert (picture.format, picture.mode) == ("JPEG", "L")
                assert np.abs(image - np.asarray(picture, float)).max() < 3


FAULTS = {"short": "bytes, not", "long": "more than", "changed": "wrong SHA-256", "missing": "HTTP Error 404"}


@pytest.mark.parametrize("way", FAULTS)
def test_a_broken_file_leaves_nothing_behind(tmp_path, download, way):
    with pytest.raises(InputError, match=f"gz: .*/missing/: HTTP Error 404.*; .*{way}/: .*{FAULTS[way]}.*: is there"):
        download("missing", way)
    assert list(tmp_path.iterdir()) == []


def test_an_interrupted_download_leaves_nothing_behind(tmp_path, download, monkeypatch):
    monkeypatch.setattr(download_mnist, "move", Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        download("whole")
    assert list(tmp_path.iterdir()) == []
