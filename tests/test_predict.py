"""Reading digits: what is printed for one picture, a folder, several paths and stdin, and what is said of bad input."""

import csv
import os
import shutil
import signal
import subprocess
import sys

import numpy as np
import pytest
from conftest import REPO, SAMPLE, drawn, error_line
from PIL import Image

import predict as module
from data_tocsv import InputError, read_image
from train_network import classify, load_network

ORDER = ["mixed/a.jpg", "mixed/b/2.jpg", "mixed/b/10.jpg", "mixed/b/c/x.jpg", "mixed/z.jpg"]
DIGITS = [5, 3, 4, 6, 7]


def answers(result):
    """Return the paths and the digits that were printed."""
    rows = [line.split("\t") for line in result.stdout.splitlines()]
    assert all(0 <= float(confidence) <= 1 for _, _, confidence in rows)
    return [row[0] for row in rows], [int(row[1]) for row in rows]


# Answers.


@pytest.mark.parametrize("digit", range(10))
def test_one_picture_prints_its_digit_and_nothing_else(predict, digit):
    result = predict(drawn(digit), check=0)
    assert (result.stdout, result.stderr) == (f"{digit}\n", "")


def test_a_folder_is_read_with_its_sub_folders_in_natural_order(predict, folder):
    result = predict("mixed", check=0)
    assert answers(result) == (ORDER, DIGITS)
    assert result.stderr == ""  # no labels, no summary


def test_several_paths_are_read_in_the_order_given(predict, folder):
    result = predict("mixed/z.jpg", "mixed/b", "mixed/a.jpg", check=0)
    assert answers(result) == (["mixed/z.jpg", *ORDER[1:4], "mixed/a.jpg"], [7, 3, 4, 6, 5])


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n"])
def test_paths_come_from_standard_input(predict, folder, end):
    assert answers(predict("-", input=end.join(ORDER), check=0)) == (ORDER, DIGITS)


def test_paths_on_standard_input_may_end_in_zero_bytes(predict, folder):
    os.rename(folder / "z.jpg", folder / "two\nlines.jpg")
    paths = [*ORDER[:4], "mixed/two\nlines.jpg"]
    shown = [*ORDER[:4], "mixed/two\\nlines.jpg"]
    for text in ("\0".join(paths), "\0".join(paths) + "\0"):
        assert answers(predict("-0", "-", input=text, check=0)) == (shown, DIGITS)
    assert "give -0" in error_line(predict("-", input="\0".join(ORDER)))


def test_the_table_is_the_same_bytes_in_every_run(predict, tmp_path, network):
    """However the pictures come: at once, where workers read them 64 at a time, or one by one."""
    paths = [str(path) for path in sorted((SAMPLE / "testing").rglob("*.jpg"))] * 8
    predict("-", "-o", "a.csv", input="\n".join(paths), check=0)
    rows = []
    for digit in range(10):
        for ((path, _, p),) in module.read(paths[60 * digit : 60 * digit + 2], load_network(network)):
            rows.append([path, p.argmax(), *(f"{x:.6f}" for x in (p.max(), *p))])
    with open(tmp_path / "a.csv", encoding="utf-8", newline="") as file:
        table = list(csv.reader(file))[1:]
    for turn in range(8):
        assert [table[600 * turn + 60 * digit + i] for digit in range(10) for i in (0, 1)] == [
            list(map(str, row)) for row in rows
        ]


def test_labelled_folders_are_summed_up(predict, tmp_path):
    for label, digit in ((3, 3), (4, 4), (4, 3), (4, 3), (9, 1)):
        path = tmp_path / "labelled" / str(label) / f"{len(list(tmp_path.rglob('*.jpg')))}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(drawn(digit), path)
    err = predict("labelled", check=0).stderr
    assert "2 of 5 right: 40.00%" in err
    assert "4 read as 3 (2), 9 read as 1 (1)" in err
    assert predict("labelled", "-q", check=0).stderr == ""


def test_a_picture_without_a_label_means_no_summary(predict, folder):
    assert predict(SAMPLE / "testing" / "3", "mixed", check=0).stderr == ""


def test_the_sample_is_read_well(predict):
    result = predict(SAMPLE / "testing", check=0)
    right, total = result.stderr.split(" right")[0].split(" of ")
    assert int(right) / int(total.replace(",", "")) > 0.85  # networks of any seed read 92 to 94 %


def test_answers_are_also_written_as_csv(predict, folder, tmp_path):
    (tmp_path / "mixed" / 'odd, "name".jpg').write_bytes(drawn(8).read_bytes())
    predict("mixed", "-o", "answers.csv", check=0)
    with open(tmp_path / "answers.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "digit", "confidence", *(f"p{digit}" for digit in range(10))]
    assert [row["path"] for row in rows] == [*ORDER[:4], 'mixed/odd, "name".jpg', ORDER[4]]
    assert [int(row["digit"]) for row in rows] == [5, 3, 4, 6, 8, 7]
    for row in rows:
        p = [float(row[f"p{digit}"]) for digit in range(10)]
        assert int(row["digit"]) == int(np.argmax(p)) and abs(sum(p) - 1) < 1e-4
        assert float(row["confidence"]) == max(p)


def test_the_sheet_shows_the_wrong_ones_first(predict, tmp_path):
    for label, digit in ((1, 1), (2, 2), (3, 4)):
        path = tmp_path / "labelled" / str(label) / "x.jpg"
        path.parent.mkdir(parents=True)
        shutil.copy(drawn(digit), path)
    predict("labelled", "--sheet", "sheet.png", check=0)
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    red = (pixels[..., 0] - pixels[..., 1] > 100).any(axis=0)
    assert red[: module.TILE[0] + 8].any() and not red[module.TILE[0] + 8 :].any()


def test_the_sheet_shows_what_could_not_be_read_and_the_thinnest_picture(predict, tmp_path):
    Image.new("RGB", (5000, 2), (0, 0, 255)).save(tmp_path / "wide.png")
    (tmp_path / "text.jpg").write_text("no picture")
    shutil.copy(drawn(3), tmp_path / "3.jpg")
    predict("wide.png", "text.jpg", "3.jpg", "--sheet", "sheet.png", check=1)
    with Image.open(tmp_path / "sheet.png") as sheet:
        pixels = np.asarray(sheet.convert("RGB")).astype(int)
    blue = pixels[..., 2] - pixels[..., 0] > 200
    assert blue.sum() >= 4 * 50
    red = (pixels[..., 0] - pixels[..., 1] > 100).any(axis=0)
    assert red[: module.TILE[0]].any() and red[module.TILE[0] : 2 * module.TILE[0]].any()


@pytest.mark.parametrize("name, format", [("s.png", "PNG"), ("s.JPG", "JPEG"), ("s.webp", "WEBP")])
def test_the_sheet_has_the_format_that_its_name_says(predict, tmp_path, name, format):
    predict(drawn(3), "--sheet", name, check=0)
    with Image.open(tmp_path / name) as sheet:
        assert sheet.format == format


def test_a_sheet_of_many_pictures_is_no_larger_than_a_page(predict, tmp_path):
    predict(SAMPLE / "testing", "--sheet", "sheet.png", check=0)
    with Image.open(tmp_path / "sheet.png") as sheet:
        assert sheet.width < 1500 and sheet.height < 2500


def test_another_network_can_be_named(predict, tmp_path):
    os.rename(tmp_path / "network.npz", tmp_path / "other.npz")
    assert predict("--network", "other.npz", drawn(2), check=0).stdout == "2\n"


def test_a_picture_of_another_size_and_polarity_is_read(predict, tmp_path):
    picture = Image.open(drawn(6)).resize((280, 280), Image.Resampling.BICUBIC)
    Image.eval(picture, lambda value: 255 - value).convert("RGB").save(tmp_path / "big.png")
    assert predict("big.png", check=0).stdout == "6\n"


# From Python.


def test_predict_returns_an_int_or_a_list_of_ints(folder, network):
    assert module.predict(drawn(7), network) == 7
    assert type(module.predict(str(drawn(7)), network)) is int
    assert module.predict(folder, network) == DIGITS
    assert all(type(digit) is int for digit in module.predict(str(folder), network))


def test_predict_takes_a_picture_that_is_open_and_leaves_it_alone(network):
    with Image.open(drawn(7)) as picture:
        assert module.predict(picture, network) == 7
        assert picture.size == (28, 28)
    large = Image.open(drawn(4)).resize((300, 300))
    before = large.tobytes()
    assert module.predict(large, network) == 4
    assert large.tobytes() == before


def test_main_called_from_python_leaves_the_process_as_it_was(folder, network, monkeypatch, capsys):
    """capsys puts streams in place that are not the process's own."""
    monkeypatch.chdir(folder.parent)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    streams = sys.stdout, sys.stderr
    assert module.main(["--network", str(network), "mixed"]) == 0
    assert capsys.readouterr().out.count("\n") == 5
    with pytest.raises(InputError, match="nowhere.npz: no such file"):
        module.main(["--network", "nowhere.npz", "mixed"])
    assert {number: signal.getsignal(number) for number in handlers} == handlers
    assert (sys.stdout, sys.stderr) == streams


def test_predict_tells_what_it_cannot_read(folder, network):
    (folder / "b" / "text.jpg").write_text("no picture")
    assert module.predict(folder, network) == [*DIGITS[:4], None, DIGITS[4]]
    with pytest.raises(InputError, match="text.jpg: not a picture"):
        module.predict(folder / "b" / "text.jpg", network)
    with pytest.raises(ValueError, match="nowhere.jpg: No such file"):
        module.predict("nowhere.jpg", network)


def test_many_pictures_at_once_are_read_as_one_by_one(predict, network, tmp_path):
    paths = sorted((SAMPLE / "testing").rglob("*.jpg"))
    result = predict("-", input="\n".join(map(str, paths * 8)), check=0)  # enough for workers to be started
    once = [classify(load_network(network), read_image(path)[np.newaxis]).argmax() for path in paths]
    assert answers(result) == (list(map(str, paths)) * 8, once * 8)


# Bad input.


def test_bad_pictures_are_named_and_the_others_read(predict, folder):
    (folder / "b" / "text.jpg").write_text("no picture")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / ".hidden.jpg").write_bytes(b"")
    (folder / "Thumbs.db").write_bytes(b"")
    result = predict("mixed", "missing.jpg", check=1)
    assert answers(result) == (ORDER, DIGITS)
    assert result.stderr.splitlines() == [
        "predict.py: error: mixed/b/text.jpg: not a picture that can be read: save it as JPG or PNG",
        "predict.py: error: mixed/empty.jpg: empty file",
        "predict.py: error: missing.jpg: No such file or directory",
    ]


@pytest.mark.parametrize(
    "args, message",
    [
        (["missing.jpg"], "missing.jpg: No such file"),
        (["network.npz"], "network.npz: not a picture"),
        (["empty"], "empty: no pictures"),
        (["-"], "-: no pictures"),
        ([], "the following arguments are required: PATH: see predict.py -h"),
        (["--nonsense", "7.jpg"], "--nonsense"),
        (["--network", "missing.npz", "7.jpg"], "missing.npz: no such file: train_network.py makes one"),
        (["-o", "missing/answers.csv", "7.jpg"], "missing/answers.csv: there is no such folder"),
        (["-o", "answers.csv", "--sheet", "missing/s.png", "7.jpg"], "missing/s.png: there is no such folder"),
        (["--sheet", "sheet.txt", "7.jpg"], "sheet.txt: cannot be drawn in that format"),
        (["--sheet", "sheet", "7.jpg"], "sheet: cannot be drawn in that format"),
        (["-o", "network.npz", "7.jpg"], "network.npz: named twice"),
        (["-o", "empty", "7.jpg"], "empty: not a file that can be replaced"),
    ],
)
def test_where_nothing_can_be_done_one_line_says_why(predict, tmp_path, args, message):
    (tmp_path / "empty").mkdir()
    shutil.copy(drawn(7), tmp_path / "7.jpg")
    line = error_line(predict(*args, input=""))
    assert line.startswith("predict.py: error: ") and message in line, line


def test_the_old_answers_stay_where_no_picture_could_be_read(predict, tmp_path):
    (tmp_path / "answers.csv").write_text("old")
    predict("missing.jpg", "-o", "answers.csv", check=2)
    assert (tmp_path / "answers.csv").read_text() == "old"


@pytest.mark.skipif(os.name == "nt", reason="such names are POSIX's")
@pytest.mark.parametrize(
    "name",
    [b"two words.jpg", b"tab\there.jpg", b"new\nline.jpg", b"'\"$(x)`.jpg", b"\xff\xfe.jpg", b"-q", b"--help.jpg"]
    + [b"\x1b[31mred.jpg", *map(str.encode, ("\U0001f642.jpg", "\u202egpj.exe.jpg", "4\u202fPM.jpg"))],
)
def test_any_name_is_read_and_printed_on_one_line(tmp_path, network, name):
    os.mkdir(tmp_path / "odd")
    path = os.path.join(os.fsencode(tmp_path), b"odd", name)
    shutil.copy(drawn(4), path)
    shown = b"odd/" + name.replace(b"\t", b"\\t").replace(b"\n", b"\\n").replace(b"\x1b", b"\\x1b")
    shown = shown.replace("\u202e".encode(), b"\\u202e")  # it would have the rest written from right to left
    command = [sys.executable, REPO / "predict.py", "--network", network]
    for args in ([b"odd"], [b"odd/" + name, b"odd/missing"]):
        result = subprocess.run([*command, *args], cwd=tmp_path, capture_output=True)
        assert result.stdout.split(b"\t")[:2] == [shown, b"4"] and result.stdout.count(b"\n") == 1
    alone = subprocess.run([*command, "--", name], cwd=tmp_path / "odd", capture_output=True)
    assert alone.stdout == b"4\n"
    table = subprocess.run([*command, "-o", "a.csv", b"odd"], cwd=tmp_path, capture_output=True)
    assert table.returncode == 0 and name.split(b'"')[0] in (tmp_path / "a.csv").read_bytes()


def test_a_link_that_leads_back_is_followed_once(predict, folder):
    (folder / "b" / "up").symlink_to(folder, target_is_directory=True)
    assert answers(predict("mixed", check=0)) == (ORDER, DIGITS)


@pytest.mark.skipif(os.name == "nt", reason="paths are shorter there")
def test_folders_within_folders_without_end_are_named(predict, folder):
    deep = os.open(folder, os.O_RDONLY)
    for _ in range(300):
        os.mkdir("d", dir_fd=deep)
        deeper = os.open("d", os.O_RDONLY, dir_fd=deep)
        os.close(deep)
        deep = deeper
    os.close(deep)
    result = predict("mixed", check=1)
    assert answers(result) == (ORDER, DIGITS)
    assert result.stderr.count("\n") == 1 and "d: a folder, not a picture" in result.stderr


def test_a_linked_folder_is_read(predict, folder, tmp_path):
    (tmp_path / "link").mkdir()
    (tmp_path / "link" / "to").symlink_to(folder / "b", target_is_directory=True)
    assert answers(predict("link", check=0))[1] == [3, 4, 6]


def test_a_line_of_stdin_that_is_a_dash_is_a_file_of_that_name(predict):
    assert "error: -: No such file" in predict("-", input="-\n" * 2000, check=2).stderr


def test_closed_standard_input_is_told(predict):
    assert "standard input is closed" in error_line(predict("-", preexec_fn=lambda: os.close(0)))


def test_a_picture_is_never_written_over(predict, folder):
    before = (folder / "a.jpg").read_bytes()
    assert "give another name" in error_line(predict("mixed", "-o", "mixed/a.jpg"))
    assert "give another name" in error_line(predict("mixed", "-o", "new.jpg"))
    assert "named twice" in error_line(predict("mixed/a.jpg", "--sheet", "mixed/a.jpg"))
    (folder / "link.csv").symlink_to(folder.parent / "sheet.png")
    assert "named twice" in error_line(predict("mixed", "-o", "mixed/link.csv", "--sheet", "sheet.png"))
    assert (folder / "a.jpg").read_bytes() == before


def test_a_picture_in_a_folder_that_is_read_is_not_written_over(predict, folder):
    os.rename(folder / "a.jpg", folder / "noext")
    before = (folder / "noext").read_bytes()
    assert "give another name" in predict("mixed", "-o", "mixed/noext", check=2).stderr
    assert "give another name" in predict("-", "--sheet", "mixed/z.jpg", input="mixed/z.jpg\n", check=2).stderr
    assert (folder / "noext").read_bytes() == before
    with Image.open(folder / "z.jpg") as picture:
        assert picture.size == (28, 28)


def test_the_old_answers_stay_where_there_is_no_digit(predict, tmp_path):
    Image.new("L", (100, 100), 255).save(tmp_path / "blank.png")
    (tmp_path / "answers.csv").write_text("old")
    assert "not written" in predict("blank.png", "-o", "answers.csv", check=2).stderr
    assert (tmp_path / "answers.csv").read_text() == "old"


@pytest.mark.skipif(os.name == "nt", reason="descriptors are POSIX's")
@pytest.mark.parametrize("closed", [(2,), (0, 2), (0, 1, 2)])
def test_closed_streams_lose_no_answer(predict, tmp_path, closed):
    def close():
        for descriptor in closed:
            os.close(descriptor)

    command = [sys.executable, REPO / "predict.py", "-o", "answers.csv", SAMPLE]  # enough for workers
    assert subprocess.run(command, cwd=tmp_path, preexec_fn=close, stdout=subprocess.PIPE).returncode == 0
    assert (tmp_path / "answers.csv").read_text(encoding="utf-8").count("\n") == 6001


@pytest.mark.skipif(os.name == "nt", reason="FIFOs are POSIX's")
def test_a_network_that_is_a_pipe_is_refused_unopened(predict, tmp_path):
    os.mkfifo(tmp_path / "pipe.npz")
    assert "not a regular file" in error_line(predict(drawn(1), "--network", "pipe.npz"))
