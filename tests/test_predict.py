"""Reading digits: the answers for one picture, a folder, several paths and stdin, and the errors for bad input."""

import csv
import io
import os
import re
import select
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import SAMPLE, command, drawn, posix, run
from PIL import Image, ImageOps

import predict as module
from data_tocsv import InputError, read_image

pytestmark = pytest.mark.usefixtures("digits")

ORDER = [os.path.join("mixed", *name.split("/")) for name in ("a.jpg", "z.jpg", "b/2.jpg", "b/10.jpg", "b/c/x.jpg")]
DIGITS = [5, 7, 3, 4, 6]


@pytest.fixture
def ask(capsys):
    """Run predict's command; return what it wrote to stdout and to stderr."""

    def ask(*args, status=0):
        assert module.main([str(arg) for arg in args]) == status
        return capsys.readouterr()

    return ask


def answers(out):
    """Return the paths and the digits that were printed."""
    rows = [line.split("\t") for line in out.splitlines()]
    assert all(0 <= float(confidence) <= 1 for _, _, confidence in rows)
    return [row[0] for row in rows], [int(row[1]) for row in rows]


def give(monkeypatch, data):
    """Give data (bytes) to standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(data)), encoding="utf-8"))


def copy(path, digit):
    """Copy a drawing of `digit` to `path`, or a text file if it is None."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    shutil.copy(__file__ if digit is None else drawn(digit), path)


@pytest.mark.parametrize("digit", range(10))
def test_one_picture_prints_its_digit_and_nothing_else(ask, digit):
    assert ask(drawn(digit)) == (f"{digit}\n", "")


def test_a_folder_is_read_with_its_sub_folders_in_natural_order(ask):
    out, err = ask("mixed")
    assert answers(out) == (ORDER, DIGITS)
    assert err.endswith(": 5 read\n")  # no labels, no summary
    assert answers(ask(os.path.join("mixed", "b", "c")).out) == (ORDER[4:], DIGITS[4:])  # the path, too
    assert answers(ask(ORDER[1], os.path.join("mixed", "b"), ORDER[0]).out)[0] == [ORDER[1], *ORDER[2:], ORDER[0]]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", "\n" + 500 * "-\n"], ids=range(4))
def test_paths_come_from_standard_input(ask, monkeypatch, end):
    give(monkeypatch, end.join(ORDER).encode())
    assert answers(ask("-").out) == (ORDER, DIGITS)


@posix
def test_each_path_from_a_pipe_is_answered_when_it_arrives(digits):
    args, pipes = ["-q", "-o", "a.csv", "--sheet", "a.png", "-"], {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command("predict.py", *args), cwd=digits, bufsize=0, **pipes) as process:
        for path in map(str.encode, ORDER):
            process.stdin.write(path + b"\n")
            assert select.select([process.stdout], [], [], 60)[0] and process.stdout.readline().startswith(path)
            assert len(list(digits.glob("a.*.new"))) == 2  # opened before the first answer


def test_labelled_folders_get_a_summary_with_the_most_common_mistakes(ask, monkeypatch):
    for index, (label, digit) in enumerate([("3", 3), ("4", 4), ("4/anna", 3), ("3/4", 3), ("9", 1)]):
        copy(f"labelled/{label}/{index}.jpg", digit)
    copy("labelled/9/text.jpg", None)
    err = ask("labelled", status=1).err
    assert "2 of 5 right: 40.00%, 1 not read\n" in err
    assert "most common mistakes: 4 read as 3 (2), 9 read as 1 (1)\n" in err
    assert "right" not in ask("labelled", "-q", status=1).err
    assert "right" not in ask("labelled", ORDER[0], status=1).err  # it has no label
    monkeypatch.chdir("labelled/3")
    assert ": 1 of 2 right: 50.00%\n" in ask(".", "--network", "../../network.npz").err


def test_the_sample_is_read_well(ask):
    right, total = ask(SAMPLE / "testing").err.split(": ")[1].split(" right")[0].split(" of ")
    assert int(right) / int(total) > 0.8  # networks of any seed read 90 %


def test_answers_are_also_written_as_csv_with_empty_fields_where_there_is_none(ask):
    copy("mixed/text.jpg", None)
    err = ask("mixed", "-o", "answers.csv", "--sheet", "sheet.png", status=1).err
    assert ": 5 read, 1 not read\n" in err and err.endswith(": wrote answers.csv, sheet.png\n")
    with open("answers.csv", encoding="utf-8", newline="") as file:
        header, first, unread, *rows = csv.reader(file)
    assert b"\r" not in Path("answers.csv").read_bytes()
    assert header == ["path", "digit", "confidence", *(f"p{digit}" for digit in range(10))]
    assert unread == [os.path.join("mixed", "text.jpg"), *12 * [""]]
    assert [(row[0], int(row[1])) for row in (first, *rows)] == list(zip(ORDER, DIGITS))
    for row in first, *rows:
        digit, confidence, *p = map(float, row[1:])
        assert digit == np.argmax(p) and abs(sum(p) - 1) < 1e-4 and confidence == max(p)


def test_the_sheet_shows_wrong_answers_then_unread_pictures_then_the_least_confident_answers(ask, monkeypatch):
    for digit in range(10):
        copy(f"labelled/{digit}/x.jpg", digit)
    rows = sorted(module.predict_folder("labelled"), key=lambda row: row[2])
    copy(f"labelled/3/{'löng-' * 9}ß17.jpg", 4)
    copy("labelled/5/text.jpg", None)
    texts, pen = [], SimpleNamespace(text=lambda *args: texts.append(args))
    monkeypatch.setattr(module.ImageDraw, "Draw", lambda _: pen)
    monkeypatch.setattr(module, "ON_SHEET", 11)
    assert ask("labelled", "--sheet", "sheet.png", status=1).err.endswith("wrote sheet.png (11 of 12 pictures)\n")
    assert Image.open("sheet.png").size == (10 * 180 + 8, 2 * 136 + 8)
    names = ["3/long-lo...-long-long-?17.jpg", "5/text.jpg", *(f"{digit}/x.jpg" for _, digit, _ in rows[:9])]
    places = [(x, y) for y in (8, 144) for x in range(8, 1808, 180)]
    assert texts[::2] == [((x, y + 114), name, "grey") for (x, y), name in zip(places, names)]
    (wrong, text, colour), (unread, reason, red), *_, right = texts[1::2]
    assert wrong == (124, 68) and text.startswith("read 4, is 3\n") and text.endswith("%") and colour == "red"
    assert unread == (304, 8) and reason.startswith("not a\npicture in\n") and red == "red"
    assert right == ((124, 204), f"{rows[8][1]}\n{rows[8][2]:.1%}", "black")


def test_the_sheet_shows_a_picture_as_given_and_as_it_was_seen(ask):
    ink = Image.open(drawn(4)).resize((300, 100))
    red, black = ImageOps.colorize(ink, "white", "red"), Image.new("RGBA", ink.size)
    black.putalpha(ink)
    for picture, shown in (red.quantize(), red), (black, ImageOps.invert(ink).convert("RGB")):
        picture.save("wide.png")
        ask("wide.png", "--sheet", "sheet.png")
        sheet = np.asarray(Image.open("sheet.png").convert("RGB")).astype(int)
        given, seen = np.split(sheet[8:64, 8:180], [116], axis=1)
        assert np.abs(given[:37, :112] - np.asarray(shown.resize((112, 37)), int)).mean() < 3
        assert (seen[::2, ::2, 0] == read_image(picture).reshape(28, 28)).all()


def test_the_network_here_is_used_or_else_the_one_beside_the_script(digits, ask, monkeypatch):
    beside, script = digits / "code" / "network.npz", digits / "code" / "predict.py"
    beside.parent.mkdir()
    beside.write_text("another")
    if os.name != "nt":
        script = Path("link.py")
        script.symlink_to("code/predict.py")
    monkeypatch.setattr(module, "__file__", str(script))
    assert ask(drawn(4)) == ("4\n", "")
    os.replace("network.npz", beside)
    out, err = ask(drawn(4))
    assert out == "4\n" and err.endswith(f": using {beside}\n")
    assert ask(drawn(4), "-q") == ask(drawn(4), "--network", beside) == ("4\n", "")
    beside.unlink()
    with pytest.raises(InputError, match="^network.npz: no such file: networks are made by train_network.py"):
        module.main(["4.jpg"])


def test_predict_returns_an_int_or_a_list_of_ints():
    assert module.predict(drawn(7)) == module.predict(str(drawn(7)), "network.npz") == 7
    assert module.predict(Image.open(drawn(7))) == 7
    assert module.predict("mixed") == DIGITS
    Image.core.set_block_size(1 << 20)
    assert {type(digit) for digit in [module.predict(drawn(7)), *module.predict("mixed")]} == {int}
    assert Image.core.get_block_size() == 1 << 20  # the rest of the program's memory is its own affair


def test_predict_tells_what_it_cannot_read():
    copy("mixed/text.jpg", None)
    wrong = {"mixed/text.jpg": "text.jpg: not a picture", "nowhere.jpg": "nowhere.jpg: No such file"}
    blank, empty = Image.new("L", (28, 28)), Image.new("L", (0, 28))
    for thing, reason in (*wrong.items(), (blank, "^picture: no digit found"), (empty, "^picture: has no pixels")):
        with pytest.raises(InputError, match=reason):
            module.predict(thing)
    with pytest.raises(InputError, match="nowhere: not a folder"):
        next(module.predict_folder("nowhere"))
    assert issubclass(InputError, ValueError)
    for thing in None, 7, ["7.jpg"], np.zeros((28, 28)):
        with pytest.raises(TypeError, match="takes a path or a PIL.Image, not"):
            module.predict(thing)


def test_bad_pictures_are_reported_and_the_others_read(ask):
    copy("mixed/b/text.jpg", None)
    Path("old.csv").touch()
    out, err = ask("mixed", "missing.jpg", "a\0b.jpg", "-q", "-o", "old.csv", status=1)
    assert answers(out) == (ORDER, DIGITS)
    assert [line.split(": ")[1:] for line in err.splitlines()] == [
        [os.path.join("mixed", "b", "text.jpg"), "not a picture in a supported format", "save it as JPG or PNG"],
        ["missing.jpg", "No such file or directory"],
        ["a\\x00b.jpg", "No such file or directory"],
    ]
    out, err = ask("missing.jpg", status=2)
    assert out == "" and err.endswith(": error: missing.jpg: No such file or directory\n")
    assert ask("missing.jpg", "network.npz", status=2).out == ""
    assert ask("", status=2).err.endswith(": error: empty path: No such file or directory\n")


UNUSABLE = {
    "empty": "empty: no pictures",
    "-": "-: no pictures",
    "- -q": "- expects paths, one a line, as UTF-8",  # not a picture
    "mixed --sheet mixed/b/s.png": "mixed/b/s.png: is in a folder that is read: write to another folder",
    "mixed -o missing/answers.csv": "no such folder: .*missing'",
    "mixed --sheet missing/s.png": "no such folder: .*missing'",
    "mixed -o folder.csv": "(directory|denied): 'folder.csv'",
    "mixed -o picture.jpg": "^2$",  # a usage error
    "mixed --sheet picture.jpg": "^2$",
}


@pytest.mark.parametrize("args", UNUSABLE)
def test_what_cannot_be_used_is_an_error(monkeypatch, args):
    os.mkdir("empty")
    os.mkdir("folder.csv")
    give(monkeypatch, drawn(7).read_bytes() if "-q" in args else b"")
    with pytest.raises((InputError, OSError, SystemExit), match=UNUSABLE[args]):
        module.main(args.split())


def test_older_files_stay_if_there_is_no_picture_and_are_replaced_if_none_can_be_read(ask):
    for name in "old.csv", "old.png":
        Path(name).write_text("old")
    with pytest.raises(InputError, match="nowhere: no pictures"):
        ask("nowhere", "-o", "old.csv", "--sheet", "old.png")
    assert Path("old.csv").read_text() == Path("old.png").read_text() == "old"
    copy("bad/text.jpg", None)
    ask("bad", "-o", "old.csv", "--sheet", "old.png", status=2)
    assert Path("old.csv").read_text().splitlines()[1] == os.path.join("bad", "text.jpg") + 12 * ","
    assert Path("old.png").read_bytes().startswith(b"\x89PNG")


@posix
@pytest.mark.parametrize("args", ["mixed -o mixed/p.csv", "- --sheet link.png", "mixed/p.csv -o hard.csv"])
def test_a_picture_is_not_written_over(monkeypatch, args):
    copy("mixed/p.csv", 3)
    os.symlink("mixed/p.csv", "link.png")
    os.link("mixed/p.csv", "hard.csv")  # the same file by another name, as P.csv is on macOS
    give(monkeypatch, b"mixed/p.csv\n")
    with pytest.raises(InputError, match=r"p\.csv: .* read.*: write to another folder"):
        module.main(args.split())
    with open("mixed/p.csv", "rb") as file:
        assert file.read() == drawn(3).read_bytes()


def test_a_broken_name_as_windows_allows_it_is_reported_and_written(ask, monkeypatch):
    monkeypatch.setattr(sys, "getfilesystemencodeerrors", lambda: "surrogatepass")
    assert ": \\ud800.jpg: " in ask("mixed", "\ud800.jpg", "-o", "a.csv", status=1).err
    assert Path("a.csv").read_text(encoding="utf-8", errors="surrogatepass").endswith("\n\ud800.jpg" + 12 * "," + "\n")


NAMES = [b"two, words.jpg", b"tab\there.jpg", b"new\nline.jpg", b"cr\rhere.jpg", b"\"'$(x)`.jpg", b"-q", b"--help.jpg"]
NAMES += [b"\xff\xfe.jpg"] if sys.platform == "linux" else []  # macOS refuses it
NAMES += [b"\x1b[31mred.jpg", *map(str.encode, ("\x9b31mred.jpg", "\U0001f642.jpg", "4\u202fPM.jpg", "\u0663.jpg"))]


@posix
def test_any_name_is_read_and_printed_on_one_line(digits):
    os.mkdir("odd")
    names, utf8 = [os.fsdecode(name) for name in NAMES], {"errors": "surrogateescape"}
    for name in names:
        shutil.copy(drawn(4), os.path.join("odd", name))
    result = run("predict.py", "--sheet", "a.png", "odd", cwd=digits, check=0, **utf8)
    shown = {re.sub("[\t\n\r\x1b\x9b]", lambda match: repr(match[0])[1:-1], name) for name in names}
    assert {line.rsplit("\t", 2)[0] for line in result.stdout.split("\n")} == {"", *("odd/" + name for name in shown)}
    args = ["--network", "../network.npz", "-o", "../a.csv", "--", *names]
    result = run("predict.py", *args, cwd=digits / "odd", check=0, **utf8)
    assert {line.rsplit("\t", 2)[0] for line in result.stdout.split("\n")} == {"", *shown}
    with open("a.csv", encoding="utf-8", newline="", **utf8) as file:
        assert [row[0] for row in csv.reader(file)] == ["path", *names]
