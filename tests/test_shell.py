"""The three scripts in a shell: pipes, streams that are closed or full, help, and progress on a terminal."""

import contextlib
import errno
import os
import re
import runpy
import signal
import struct
import subprocess
import sys
from unittest.mock import Mock

import pytest
from conftest import REPO, SAMPLE, command, error_line, posix, run, write_random_csv

import data_tocsv

SCRIPTS = ["data_tocsv.py", "train_network.py", "predict.py", "datasets/download_mnist.py", "datasets/draw_sample.py"]
full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")


def with_closed_pipe(script, *args, **options):
    """Run a script whose output nobody reads; return what it wrote to stderr."""
    ours, theirs = os.pipe()
    os.close(ours)
    with open(theirs, "w") as pipe:
        return run(script, *args, stdout=pipe, **options).stderr


@pytest.mark.parametrize("argument", [SAMPLE / "testing", "-h"])
def test_a_closed_pipe_ends_quietly(digits, argument):
    assert with_closed_pipe("predict.py", argument, cwd=digits, check=0) == ""


def test_training_goes_on_though_the_pipe_is_closed(digits):
    write_random_csv(digits / "rows.csv")
    err = with_closed_pipe("train_network.py", "--train=rows.csv", "--test=rows.csv", cwd=digits, check=0)
    assert "; network.npz will be replaced\n" in err and "saved network.npz" in err


def test_the_files_are_whole_though_the_pipe_is_closed(digits):
    (digits / "text.jpg").write_text("no picture")
    args = ["-q", "-o", "answers.csv", "--sheet", "sheet.png", "text.jpg", SAMPLE / "testing"]
    err = with_closed_pipe("predict.py", *args, cwd=digits, check=1)
    assert err.count("\n") == 1 and "text.jpg" in err
    assert (digits / "answers.csv").read_text(encoding="utf-8").count("\n") == 1 + 601
    assert (digits / "sheet.png").exists()


def test_all_streams_are_utf_8_in_any_locale_and_a_byte_order_mark_is_skipped(digits):
    (digits / "mixed" / "\xfc.jpg").touch()
    os.rename("mixed", "m\xefxed")
    ascii = {"env": os.environ | {"PYTHONIOENCODING": "ascii"}}
    result = run("predict.py", "-", input="\ufeffm\xefxed\r\n", cwd=digits, check=1, **ascii)
    assert result.stdout.count("m\xefxed") == 5 and "\xfc.jpg: not a picture" in result.stderr


def test_windows_leaves_patterns_to_the_script_and_has_another_error_for_a_closed_pipe(digits, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["predict.py", "mixed/*.jp?", "*.png", 'mixed"'])
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    invalid = Mock(side_effect=OSError(errno.EINVAL, "Invalid argument"))
    with open(os.devnull) as file, monkeypatch.context() as windows, pytest.raises(SystemExit, match="0"):
        windows.setattr(os, "name", "nt")
        windows.setattr(sys, "stdout", Mock(flush=invalid, fileno=file.fileno, isatty=lambda: False))
        data_tocsv.run(lambda: 0)
    assert sys.argv == ["predict.py", *(os.path.join("mixed", name) for name in ("a.jpg", "z.jpg")), "*.png", "mixed"]
    assert capsys.readouterr().err == ""


@full
@pytest.mark.parametrize(
    "spoil, answers",
    [(lambda: os.dup2(os.open("/dev/full", os.O_WRONLY), 2), 5), (lambda: os.close(2), 5), (lambda: os.close(1), 0)],
)
def test_a_stream_that_is_full_or_closed_changes_nothing(digits, spoil, answers):
    (digits / "mixed" / "text.jpg").write_text("no picture")
    assert run("predict.py", "mixed", cwd=digits, check=1, preexec_fn=spoil).stdout.count("\n") == answers


@full
@pytest.mark.parametrize("args", [["mixed"], [SAMPLE / "testing"], ["mixed", "-o", "a.csv"]], ids=range(3))
def test_a_full_disk_behind_standard_output_is_an_error(digits, args):
    with open("/dev/full", "w") as device:
        line = error_line(run("predict.py", "-q", *args, cwd=digits, stdout=device))
    assert line.startswith("predict.py: error: ") and line.endswith(": No space left on device")
    assert (digits / "a.csv").exists() == ("-o" in args)


@posix
def test_nohup_keeps_a_command_alive():
    hang_up = "import os, signal, data_tocsv; data_tocsv.run(lambda: os.kill(os.getpid(), signal.SIGHUP))"
    subprocess.run(["nohup", sys.executable, "-c", hang_up], cwd=REPO, stdin=subprocess.DEVNULL, check=True)


@posix
def test_closed_standard_input_holds_no_paths(digits):
    assert error_line(run("predict.py", "-", cwd=digits, preexec_fn=lambda: os.close(0))).endswith(": -: no pictures")


@pytest.mark.parametrize("script", SCRIPTS)
@pytest.mark.parametrize("module", ["numpy", "PIL"])
def test_a_missing_package_is_an_error_that_names_the_readme_s_first_command(tmp_path, script, module):
    (tmp_path / f"{module}.py").write_text(f"raise ModuleNotFoundError('no {module}')")
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    start, install = error_line(run(script, cwd=tmp_path, env=env)).split(": begin as README.md says: ")
    assert start == f"{os.path.basename(script)}: error: no {module}"
    assert f"```sh\n{install} &&\n" in (REPO / "README.md").read_text("utf-8")


def test_a_debugger_can_run_the_scripts_and_an_older_python_cannot(digits, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["predict.py", "mixed"])
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # as pytest has its own
    monkeypatch.delenv("VECLIB_MAXIMUM_THREADS", raising=False)
    with pytest.raises(SystemExit, match="0"):
        runpy.run_path(str(REPO / "predict.py"), run_name="__main__")
    assert os.environ["VECLIB_MAXIMUM_THREADS"] == "1"  # of the matrix products on macOS
    monkeypatch.setattr(sys, "version_info", (3, 9, 6))
    with pytest.raises(SystemExit, match="2"):
        data_tocsv.run(lambda: 0)
    assert capsys.readouterr().err.endswith(": error: Python 3.10 or newer is needed\n")


def in_a_terminal(script, *args, cwd, env, stdout=None):
    """Run a script on a pseudo-terminal; return what it wrote there. Its stdout can be elsewhere."""
    fcntl, pty, termios = (pytest.importorskip(name) for name in ("fcntl", "pty", "termios"))
    ours, theirs = pty.openpty()
    fcntl.ioctl(ours, termios.TIOCSWINSZ, struct.pack("4H", 24, 100, 0, 0))  # rows and columns
    options = {"cwd": cwd, "env": os.environ | env, "stdout": stdout or theirs, "stderr": theirs}
    process = subprocess.Popen(command(script, *args), **options)
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # this is how Linux says that the other side is closed
        while data := os.read(ours, 4096):
            shown += data
    os.close(ours)
    assert process.wait() == 0, shown
    return shown.decode()


def test_one_progress_bar_for_the_whole_training_and_none_without_tqdm(tmp_path):
    (tmp_path / "hide" / "tqdm").mkdir(parents=True)
    (tmp_path / "hide" / "tqdm" / "__init__.py").write_text("raise ImportError")
    write_random_csv(tmp_path / "rows.csv")
    args = ["--train", "rows.csv", "--test", "rows.csv", "--epochs", "5"]
    networks = []
    path = os.pathsep.join([str(tmp_path / "hide"), *sys.path])
    for env in {"TQDM_MININTERVAL": "0"}, {"PYTHONPATH": path}:
        shown = in_a_terminal("train_network.py", *args, cwd=tmp_path, env=env)
        networks.append((tmp_path / "network.npz").read_bytes())
        lines = [line for line in re.split("[\r\n]+", shown) if line.startswith("epoch")]
        assert len(lines) == 5 and all(line.endswith(" s") for line in lines), shown
        totals = set(re.findall(r"\d+/(\d+) \[", shown))
        assert totals == ({"10"} if "PYTHONPATH" not in env else set()), shown  # two batches an epoch
    assert networks[0] == networks[1]


@pytest.mark.parametrize("stdout, answers", [(None, 5), (subprocess.DEVNULL, 0)])
def test_predict_has_a_progress_bar_where_the_answers_are_elsewhere(digits, stdout, answers):
    shown = in_a_terminal("predict.py", "mixed", cwd=digits, env={"TQDM_MININTERVAL": "0"}, stdout=stdout)
    assert shown.count("mixed") == answers and ("pictures" in shown) != bool(answers), shown
