"""Nothing breaks the scripts and nothing is lost: broken files, interruption, full disks, two at once, a great many.

In small by default; with the environment variable FULL=1 at full size (some twenty minutes).
"""

import errno
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import uuid
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from conftest import FULL, REPO, SAMPLE, drawn, error_line, linux, mutate, posix, run, write_rows

from data_tocsv import InputError, read_csv, to_csv
from train_network import init_params, load_network, save_network

# Broken files.


def test_answers_and_errors_add_up_to_the_files(tmp_path, network):
    rng = random.Random(2)
    good = [drawn(digit, index).read_bytes() for digit in range(10) for index in range(5)]
    count = 5000 if FULL else 300
    for index in range(count):
        data = rng.choice(good)
        (tmp_path / f"{index}.jpg").write_bytes(data if index % 3 else mutate(data, rng.choice(good), rng))
    result = run("predict.py", "--network", network, ".", cwd=tmp_path, check=1)
    named = Counter(line.split(": ")[2] for line in result.stderr.splitlines())
    answered = Counter(line.split("\t")[0] for line in result.stdout.splitlines())
    assert named + answered == Counter(f"./{index}.jpg" for index in range(count))
    assert len(named) > count / 20


def test_a_picture_that_vanishes_after_listing_is_named(tmp_path, network):
    """The first paths come from stdin, so the last can be removed when it is already on its way."""
    shutil.copy(drawn(1), tmp_path / "1.jpg")
    paths = [str(tmp_path / "1.jpg")] * 5 + [str(tmp_path / "gone.jpg")]
    result = run("predict.py", "--network", network, "-", input="\n".join(paths), cwd=tmp_path, check=1)
    assert len(result.stdout.splitlines()) == 5 and "gone.jpg: No such file" in result.stderr


@posix
def test_a_picture_without_permission_is_named(tmp_path, network):
    shutil.copy(drawn(1), tmp_path / "1.jpg")
    os.chmod(tmp_path / "1.jpg", 0)
    if os.access(tmp_path / "1.jpg", os.R_OK):
        pytest.skip("root may read everything")
    assert "1.jpg: Permission denied" in error_line(run("predict.py", "--network", network, "1.jpg", cwd=tmp_path))


@pytest.mark.skipif(not os.path.exists("/dev/zero"), reason="no devices here")
@pytest.mark.parametrize("device", ["/dev/zero", "/dev/tty", "/dev/stdin"])
def test_devices_are_never_opened(tmp_path, network, device):
    run("predict.py", "--network", network, device, cwd=tmp_path, check=2, stdin=subprocess.DEVNULL)


def test_every_broken_csv_file_is_read_right_or_refused_with_a_line(tmp_path):
    rng = random.Random(3)
    rows = np.random.default_rng(0).integers(0, 256, (30, 785), dtype=np.uint8)
    rows[:, 0] %= 10
    good, path = to_csv(rows), tmp_path / "x.csv"
    for _ in range(3000 if FULL else 150):
        path.write_bytes(mutate(good, b"1,2,3\n\n\xff\xfe\x00", rng))
        try:
            labels, pixels = read_csv(path)
            lines = [line for line in path.read_bytes().splitlines() if line.strip()]
            expected = [[int(value) for value in line.split(b",")] for line in lines]
            np.testing.assert_array_equal(np.column_stack([labels, pixels]), expected)
        except InputError as error:
            assert re.search(r"x\.csv: (line \d+: |no rows)", str(error))


def test_one_short_row_among_many_is_found(tmp_path):
    row = to_csv(np.zeros((1, 785), np.uint8))
    (tmp_path / "x.csv").write_bytes(row * 20_000 + row[2:])
    with pytest.raises(InputError, match="line 20001: 784 values, not 785"):
        read_csv(tmp_path / "x.csv")


@posix
def test_a_line_without_end_is_refused_before_it_fills_the_memory(tmp_path):
    with open(tmp_path / "x.csv", "wb") as file:
        file.write(b"1," * 785)
        file.truncate(5_000_000_000)  # takes no room on the disk
    start = time.monotonic()
    with pytest.raises(InputError, match="line 1: longer than 10,000 characters"):
        read_csv(tmp_path / "x.csv")
    assert time.monotonic() - start < 5


def test_every_broken_npz_file_is_read_or_refused(tmp_path):
    rng = random.Random(4)
    path = tmp_path / "x.npz"
    with open(path, "wb") as file:
        save_network(init_params(np.random.default_rng(0)), file)
    good = path.read_bytes()
    ends = [(0, 300), (len(good) - 1000, len(good))]  # where the file says what is in it
    for index in range(2000 if FULL else 100):
        if index % 2:
            data = mutate(good, good[::-1], rng)
        else:
            data = bytearray(good)
            data[rng.randrange(*rng.choice(ends))] = rng.randrange(256)
        path.write_bytes(data)
        try:
            assert all(np.isfinite(p).all() for p in load_network(path).values())
        except InputError as error:
            assert str(error).startswith(f"{path}: ") and "\n" not in str(error)


# Interruption.


@pytest.fixture(scope="module")
def jobs(tmp_path_factory, network):
    """The commands to be interrupted, and the file that each writes. All take a second or more."""
    folder = tmp_path_factory.mktemp("jobs")
    write_rows(folder / "rows.csv", 2000)
    for part, count in (("training", 599), ("testing", 1)):
        for digit in range(10):
            (folder / "digits" / part / str(digit)).mkdir(parents=True)
            for index in range(count):
                shutil.copy(drawn(digit, index % 20), folder / "digits" / part / str(digit) / f"{index}.jpg")
    rows = ["--train", folder / "rows.csv", "--test", folder / "rows.csv"]
    return {
        "data_tocsv.py": ([folder / "digits", "-o", "."], "train_images.csv"),
        "train_network.py": ([*rows, "--epochs", "1000"], "network.npz"),
        "predict.py": (["--network", network, "-o", "answers.csv", folder / "digits"], "answers.csv"),
    }


def living(marker):
    """Return the process IDs of all processes that were started with `marker` in their environment."""
    found = []
    for environ in Path("/proc").glob("[0-9]*/environ"):
        try:
            if marker.encode() in environ.read_bytes():
                found.append(environ.parent.name)
        except OSError:
            pass
    return found


def is_whole(path):
    if path.suffix == ".npz":
        load_network(path)
    elif path.name == "answers.csv":
        assert path.read_text().count("\n") == 1 + 6000
    else:
        assert len(read_csv(path)[0]) in (5990, 10)


@posix
@linux
@pytest.mark.parametrize("script", ["data_tocsv.py", "train_network.py", "predict.py"])
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGKILL"])
def test_a_signal_at_any_moment_leaves_whole_files_and_no_process(tmp_path, jobs, script, name):
    args, output = jobs[script]
    number, rng = getattr(signal, name), random.Random(script + name)
    for turn in range(100 if FULL else 3):
        marker = f"DIGITS_TEST={uuid.uuid4()}"
        env = {**os.environ, "DIGITS_TEST": marker.split("=")[1], "OPENBLAS_NUM_THREADS": "1"}
        old = b"old" if turn % 2 else None
        (tmp_path / output).unlink(missing_ok=True)
        if old:
            (tmp_path / output).write_bytes(old)
        command = [sys.executable, REPO / script, *args]
        options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        process = subprocess.Popen(command, cwd=tmp_path, env=env, start_new_session=True, **options)
        while not list(tmp_path.glob(".*.new")) and process.poll() is None:
            time.sleep(0.01)  # it still imports
        time.sleep(rng.uniform(0, 0.8))
        os.killpg(process.pid, number)  # as a terminal does
        try:
            _, err = process.communicate(timeout=10)
        except subprocess.TimeoutExpired:  # a few of a thousand fall where Python drops what they raise
            os.killpg(process.pid, number)
            _, err = process.communicate(timeout=30)
        assert "Traceback" not in err and "Exception ignored" not in err, err
        if process.returncode != 0:
            assert process.returncode in (128 + number, -number), err
        deadline = time.monotonic() + 10
        while living(marker) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert not living(marker)
        path = tmp_path / output
        if path.exists() and path.read_bytes() != old:
            is_whole(path)
        left = set(os.listdir(tmp_path)) - {"train_images.csv", "test_images.csv", "network.npz", "answers.csv"}
        if name == "SIGKILL":
            for file in left:
                assert re.fullmatch(rf"\.({output}|test_images.csv)\.[0-9a-f]+\.new", file), file
                os.unlink(tmp_path / file)
        else:
            assert not left


@linux
def test_that_a_worker_was_killed_is_told(tmp_path, network):
    env = {**os.environ, "DIGITS_TEST": str(uuid.uuid4())}
    command = [sys.executable, REPO / "predict.py", "--network", network, "-o", "answers.csv", "-"]
    options = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, cwd=tmp_path, env=env, **options)
    paths = f"{drawn(3)}\n" * 5000
    process.stdin.write(paths)
    while not (workers := {*living(env["DIGITS_TEST"])} - {str(process.pid)}):
        assert process.poll() is None
        time.sleep(0.01)
    os.kill(int(workers.pop()), signal.SIGKILL)
    _, err = process.communicate(paths)
    assert process.returncode == 2 and err.count("\n") == 1 and "a process that reads pictures died" in err
    assert not living(env["DIGITS_TEST"]) and os.listdir(tmp_path) == []


@posix
def test_nohup_is_obeyed(tmp_path):
    write_rows(tmp_path / "rows.csv")
    command = [
        sys.executable,
        REPO / "train_network.py",
        "--train",
        "rows.csv",
        "--test",
        "rows.csv",
        "--epochs",
        "100",
    ]
    ignore = {"preexec_fn": lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)}
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, **ignore)
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    assert process.communicate(timeout=60)[0].count("\n") == 99 and process.returncode == 0


# No room.


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 256 kB, where the tests may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)]
    if os.name == "nt" or not shutil.which("mount") or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("may not mount a file system here")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_and_the_old_file_stays(tmp_path, network, small_disk):
    write_rows(tmp_path / "rows.csv")
    rows = ["--train", "rows.csv", "--test", "rows.csv"]
    for script, args, output in (
        ("data_tocsv.py", [SAMPLE, "-o", "disk"], "train_images.csv"),
        ("train_network.py", [*rows, "-o", "disk/network.npz"], "network.npz"),
        ("predict.py", ["--network", network, SAMPLE, "-o", "disk/answers.csv"], "answers.csv"),
    ):
        (small_disk / output).write_text("old")
        line = error_line(run(script, *args, cwd=tmp_path))
        assert output in line and os.strerror(errno.ENOSPC) in line
        assert (small_disk / output).read_text() == "old"
        assert os.listdir(small_disk) == [output]
        (small_disk / output).unlink()


def test_a_read_only_file_system_is_told(tmp_path, network, small_disk):
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    line = error_line(run("predict.py", "--network", network, drawn(1), "-o", "disk/answers.csv", cwd=tmp_path))
    assert "disk/answers.csv: Read-only file system" in line


@posix
@pytest.mark.parametrize("limit", [8, 14])
def test_a_quota_of_open_files_is_told_or_enough(tmp_path, network, limit):
    import resource

    paths = "\n".join(map(str, list((SAMPLE / "training").rglob("*.jpg")) * 2))
    command = [sys.executable, REPO / "predict.py", "--network", network, "-o", "answers.csv", "-"]
    few = {"preexec_fn": lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))}
    result = subprocess.run(command, cwd=tmp_path, input=paths, capture_output=True, text=True, **few)
    if result.returncode != 0:
        assert os.strerror(errno.EMFILE) in error_line(result)
        assert os.listdir(tmp_path) == []


# Two at once, and a great many.


def test_two_runs_that_write_the_same_file_do_not_mix(tmp_path):
    write_rows(tmp_path / "rows.csv")
    command = [sys.executable, REPO / "train_network.py", "--train", "rows.csv", "--test", "rows.csv", "-q"]
    runs = [subprocess.Popen([*command, "--epochs", "20", "--seed", str(seed)], cwd=tmp_path) for seed in (1, 2, 3)]
    while any(process.poll() is None for process in runs):
        if (tmp_path / "network.npz").exists():
            load_network(tmp_path / "network.npz")
    assert all(process.returncode == 0 for process in runs)
    assert sorted(os.listdir(tmp_path)) == ["network.npz", "rows.csv"]


def test_two_conversions_into_the_same_files_do_not_mix(tmp_path):
    command = [sys.executable, REPO / "data_tocsv.py", "-q", "-o", ".", SAMPLE]
    runs = [subprocess.Popen(command, cwd=tmp_path) for _ in range(2)]
    assert [process.wait() for process in runs] == [0, 0]
    counts = {name: len(read_csv(tmp_path / name)[0]) for name in os.listdir(tmp_path)}
    assert counts == {"train_images.csv": 5400, "test_images.csv": 600}


@linux
def test_the_memory_stays_flat_however_many_pictures_are_read(network):
    count = 1_000_000 if FULL else 12_000
    paths = [f"{path}\n" for path in sorted((SAMPLE / "testing").rglob("*.jpg"))]
    command = [sys.executable, REPO / "predict.py", "-q", "--network", network, "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    memory, answers = [], 0
    for start in range(0, count, 500):
        process.stdin.writelines(paths[(start + index) % len(paths)] for index in range(500))
        process.stdin.flush()
        while answers < start - 500:  # the others are still on their way
            assert process.stdout.readline()
            answers += 1
        pages = Path(f"/proc/{process.pid}/statm").read_text().split()[1]
        memory.append(int(pages) * os.sysconf("SC_PAGE_SIZE"))
    process.stdin.close()
    rest = process.stdout.read()
    assert answers + rest.count("\n") == count
    third = len(memory) // 3
    assert max(memory[third:]) < max(memory[:third]) + 8e6
