"""The three scripts in a shell: pipes, streams that are closed or full, help, and progress on a terminal."""

import os
import struct
import subprocess
import sys

import pytest
from conftest import REPO, SAMPLE, drawn, posix, run, write_rows


def test_a_closed_pipe_ends_quietly(network):
    command = f'"{sys.executable}" "{REPO}/predict.py" --network "{network}" "{SAMPLE}/training" | head -n 2'
    result = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert result.stdout.count("\n") == 2 and result.stderr == ""


@posix
def test_what_could_not_be_read_shows_in_the_status_though_the_pipe_is_closed(network, tmp_path):
    (tmp_path / "text.jpg").write_text("no picture")
    command = [sys.executable, REPO / "predict.py", "-q", "--network", network, "-o", "a.csv", drawn(3), "text.jpg"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE)
    process.stdout.close()
    assert process.wait() == 1


def test_the_file_of_answers_is_whole_though_the_pipe_is_closed(network, tmp_path):
    command = f'"{sys.executable}" "{REPO}/predict.py" -q --network "{network}" -o answers.csv "{SAMPLE}/training"'
    result = subprocess.run(["sh", "-c", f"{command} | head -n 2"], cwd=tmp_path, capture_output=True, text=True)
    assert result.stdout.count("\n") == 2 and result.stderr == ""
    assert (tmp_path / "answers.csv").read_text(encoding="utf-8").count("\n") == 1 + 5400


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_stderr_that_cannot_be_written_to_changes_nothing(predict, folder):
    (folder / "broken.jpg").write_text("no picture")
    with open("/dev/full", "w") as full:
        command = [sys.executable, REPO / "predict.py", "-o", "answers.csv", "mixed"]
        result = subprocess.run(command, cwd=folder.parent, stdout=subprocess.PIPE, stderr=full)
    assert result.returncode == 1 and result.stdout.count(b"\n") == 5
    assert (folder.parent / "answers.csv").read_text(encoding="utf-8").count("\n") == 1 + 5


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")
def test_a_full_disk_behind_standard_output_is_an_error(network):
    with open("/dev/full", "w") as full:
        command = [sys.executable, REPO / "predict.py", "--network", network, SAMPLE / "testing"]
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert result.returncode == 2
    assert result.stderr == "predict.py: error: standard output: No space left on device\n"


@posix
def test_answers_come_out_while_paths_still_come_in(network):
    """Each before the next path is written: here as in workers, which have started long before the last."""
    command = [sys.executable, REPO / "predict.py", "--network", network, "-"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    for turn in range(1500):
        digit = 3 + 5 * (turn % 2)
        print(drawn(digit), file=process.stdin, flush=True)
        assert process.stdout.readline().split("\t")[1] == str(digit)
    process.stdin.close()
    assert process.wait(timeout=30) == 0


@pytest.mark.parametrize("script", ["data_tocsv.py", "train_network.py", "predict.py"])
def test_help_has_an_example_and_the_defaults(script, tmp_path):
    result = run(script, "-h", cwd=tmp_path, check=0)
    assert f"python {script}" in result.stdout and "default" in result.stdout


def test_everything_works_without_tqdm(tmp_path):
    (tmp_path / "hide" / "tqdm").mkdir(parents=True)
    (tmp_path / "hide" / "tqdm" / "__init__.py").write_text("raise ImportError")
    write_rows(tmp_path / "rows.csv")
    args = ["--train", "rows.csv", "--test", "rows.csv", "--epochs", "1"]
    results = []
    for extra in ({}, {"PYTHONPATH": str(tmp_path / "hide")}):
        out = in_a_terminal(["train_network.py", *args], tmp_path, extra)
        results.append((tmp_path / "network.npz").read_bytes())
        assert ("batches" in out) == (not extra), out
    assert results[0] == results[1]


def in_a_terminal(args, cwd, env):
    """Run a script with stderr on a pseudo-terminal, and return what it wrote there."""
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))  # rows and columns
    command = [sys.executable, REPO / args[0], *args[1:]]
    process = subprocess.Popen(command, cwd=cwd, env={**os.environ, **env}, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 4096):
            shown += data
    except OSError:  # Linux tells so that the other side is closed
        pass
    os.close(ours)
    process.communicate()
    assert process.returncode == 0
    return shown.decode()
