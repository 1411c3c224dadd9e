"""Nothing breaks the scripts and nothing is lost: interruption, full disks, two runs at once."""

import contextlib
import os
import random
import re
import signal
import subprocess
import time
from unittest.mock import Mock

import pytest
from conftest import SAMPLE, command, posix, run, write_random_csv

from data_tocsv import InputError, move, read_csv
from train_network import load_network


@pytest.fixture
def jobs(tmp_path, network):
    """The commands to be interrupted, the file that each writes, and what is true of it. All take a second or more."""
    write_random_csv(tmp_path / "rows.csv", 2000)
    predict = ["--network", network, "-o", "a.csv", SAMPLE]
    return {
        "data_tocsv.py": ([SAMPLE, "-o", "."], "train_images.csv", lambda csv: len(read_csv(csv)[0]) == 5400),
        "train_network.py": (["--train=rows.csv", "--test=rows.csv", "--epochs=1000"], "network.npz", load_network),
        "predict.py": (predict, "a.csv", lambda csv: csv.read_bytes().count(b"\n") == 6001),
    }


@posix
@pytest.mark.parametrize("script", ["data_tocsv.py", "train_network.py", "predict.py"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_a_signal_at_any_moment_leaves_whole_files(tmp_path, jobs, script, name):
    (args, output, is_whole), number = jobs[script], getattr(signal, name)
    (tmp_path / output).write_bytes(b"old")
    options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    options["preexec_fn"] = lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    process = subprocess.Popen(command(script, *args), cwd=tmp_path, **options)
    while len(os.listdir(tmp_path)) == 2 and process.poll() is None:  # it is still starting
        time.sleep(0.002)
    time.sleep(random.Random(script + name).uniform(0, 0.4))
    process.send_signal(number)
    try:
        _, err = process.communicate(timeout=10)
    except subprocess.TimeoutExpired:  # a few in a thousand arrive where Python drops what a handler raises
        process.send_signal(number)
        _, err = process.communicate(timeout=30)
    assert "Traceback" not in err and "Exception ignored" not in err, err
    assert process.returncode in (0, 128 + number, -number), err
    assert ("interrupted" in err) == (process.returncode == 130), err
    assert (tmp_path / output).read_bytes() == b"old" or is_whole(tmp_path / output)
    left = set(os.listdir(tmp_path)) - {"rows.csv", "train_images.csv", "test_images.csv", output}
    if name == "SIGKILL":
        left = {file for file in left if not re.fullmatch(rf"({output}|test_images.csv)\.{process.pid}\.new", file)}
    assert not left


@posix
@pytest.mark.parametrize("script", ["data_tocsv.py", "train_network.py", "predict.py"])
def test_a_file_that_cannot_be_written_whole_is_an_error_and_the_old_one_stays(tmp_path, jobs, script):
    """A limit on the size of files stands for a full disk."""
    resource = pytest.importorskip("resource")
    args, output, _ = jobs[script]
    (tmp_path / output).write_text("old")
    limit = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))}
    result = run(script, *args, "-q", cwd=tmp_path, check=2, **limit)
    assert re.fullmatch(rf"{script}: error: .*: File too large\n", result.stderr), result.stderr
    assert (tmp_path / output).read_text() == "old"
    assert set(os.listdir(tmp_path)) == {"rows.csv", output}


def test_windows_replaces_a_file_that_somebody_reads_a_moment_later(monkeypatch):
    replace = Mock(side_effect=[PermissionError, PermissionError, None])
    with monkeypatch.context() as windows:
        windows.setattr(os, "name", "nt")
        windows.setattr(os, "replace", replace)
        move("new", "old")
    assert replace.call_count == 3


def test_two_runs_that_write_the_same_file_do_not_mix(tmp_path):
    write_random_csv(tmp_path / "rows.csv")
    args = ["--train", "rows.csv", "--test", "rows.csv", "-q", "--epochs", "10", "--seed"]
    runs = [subprocess.Popen(command("train_network.py", *args, seed), cwd=tmp_path) for seed in "12"]
    while any(process.poll() is None for process in runs):
        with contextlib.suppress(InputError if os.name == "nt" else ()):  # Windows may refuse a reader for a moment
            if (tmp_path / "network.npz").exists():
                load_network(tmp_path / "network.npz")
    assert all(process.returncode == 0 for process in runs)
    assert sorted(os.listdir(tmp_path)) == ["network.npz", "rows.csv"]
