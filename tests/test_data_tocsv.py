"""Pictures to CSV files and back: what is written, in which order, from where, and what is said of bad input."""

import os
import shutil
import socket

import numpy as np
import pytest
from conftest import SAMPLE, drawn, error_line, run
from PIL import Image

from data_tocsv import InputError, read_csv, read_image, to_csv

ROWS = np.arange(785, dtype=np.uint8)[np.newaxis] * np.ones((3, 1), np.uint8)
ROWS[:, 0] = 7, 0, 9
TEXT = to_csv(ROWS).decode()


def convert(*args, cwd, **options):
    return run("data_tocsv.py", *args, cwd=cwd, **options)


def make_folders(root, train="training", test="testing", digits="0123456789"):
    """Make a folder of training and testing pictures: two of each digit, and one."""
    for part, count in ((train, 2), (test, 1)):
        for digit in digits:
            folder = root / part / digit
            folder.mkdir(parents=True)
            for index in range(count):
                shutil.copy(drawn(digit, index), folder / f"{9 + index}.jpg")
    return root


@pytest.fixture
def folder(tmp_path):
    return make_folders(tmp_path / "digits")


# What is written.


def test_rows_are_the_label_and_what_pillow_decodes_by_digit_and_then_by_name(tmp_path, folder):
    result = convert(folder, "-o", ".", cwd=tmp_path, check=0)
    for part, csv in (("training", "train_images.csv"), ("testing", "test_images.csv")):
        paths = [path for digit in range(10) for path in sorted((folder / part / str(digit)).iterdir(), key=by_number)]
        expected = [[int(path.parent.name), *np.asarray(Image.open(path).convert("L")).ravel()] for path in paths]
        lines = (tmp_path / csv).read_text(encoding="ascii").splitlines()
        assert lines == [",".join(map(str, row)) for row in expected]
    assert "20 rows" in result.stderr and "next: python train_network.py" in result.stderr


def by_number(path):
    return int(path.stem)


def test_natural_order_of_names(tmp_path, folder):
    names = ["1.jpg", "2.jpg", "2a.jpg", "10.jpg", "a2.jpg", "a10.jpg", "b.jpg"]
    for index, name in enumerate(names):
        shutil.copy(drawn(index % 10, 3), folder / "testing" / "5" / name)
    (folder / "testing" / "5" / "9.jpg").unlink()
    convert(folder, "-o", ".", cwd=tmp_path, check=0)
    labels, pixels = read_csv(tmp_path / "test_images.csv")
    expected = [read_image(drawn(index % 10, 3)) for index in range(len(names))]
    np.testing.assert_array_equal(pixels[labels == 5], expected)


@pytest.mark.parametrize(
    "train, test",
    [("MNIST - JPG - training", "MNIST - JPG - testing"), ("trainingSet", "testSet"), ("train", "test")]
    + [("TRAIN", "TEST"), ("my training digits", "latest_testing"), ("mnistTrain", "mnistTest")]
    + [("latest_train", "latest_test2"), ("MNISTtrain", "2test")],
)
def test_the_usual_names_of_folders_are_understood(tmp_path, train, test):
    make_folders(tmp_path / "digits", train, test)
    convert("digits", "-o", ".", cwd=tmp_path, check=0)
    assert len(read_csv(tmp_path / "train_images.csv")[0]) == 20


@pytest.mark.parametrize("suffix", [".jpg", ".JPG", ".jpeg", ".JPEG", ".png", ".PNG"])
def test_the_usual_kinds_of_files_are_read(tmp_path, folder, suffix):
    picture = Image.open(drawn(3))
    path = folder / "testing" / "3" / f"x{suffix}"
    picture.save(path)
    convert(folder, "-o", ".", cwd=tmp_path, check=0)
    labels, pixels = read_csv(tmp_path / "test_images.csv")
    assert (pixels[labels == 3] == np.asarray(Image.open(path)).ravel()).all(axis=1).any()


def test_mnist_is_taken_before_the_sample_where_both_are_there(tmp_path):
    make_folders(tmp_path / "datasets" / "sample")
    convert("-q", cwd=tmp_path, check=0)
    assert len(read_csv(tmp_path / "datasets" / "train_images.csv")[0]) == 20
    mnist = make_folders(tmp_path / "datasets" / "mnist")
    (mnist / "training" / "4" / "9.jpg").unlink()
    result = convert("-q", cwd=tmp_path, check=0)
    assert len(read_csv(tmp_path / "datasets" / "train_images.csv")[0]) == 19
    assert result.stdout == result.stderr == ""


def test_pictures_read_by_workers_come_in_order_and_with_their_faults(tmp_path, folder):
    for index in range(3000):  # enough for workers to be started
        shutil.copy(drawn(index % 10, index % 7), folder / "training" / "8" / f"x{index}.jpg")
    (folder / "training" / "8" / "x2321.jpg").unlink()
    (folder / "training" / "8" / "x2321.jpg").write_text("no picture")
    result = convert(folder, "-o", ".", cwd=tmp_path, check=1)
    assert "x2321.jpg: not a picture" in result.stderr
    labels, pixels = read_csv(tmp_path / "train_images.csv")
    once = np.array([[read_image(drawn(digit, index)) for index in range(7)] for digit in range(10)])
    expected = [once[index % 10, index % 7] for index in range(3000) if index != 2321]
    np.testing.assert_array_equal(pixels[labels == 8][2:], expected)


def test_all_of_mnist(tmp_path, mnist):
    convert(mnist, "-o", ".", "-q", cwd=tmp_path, check=0)
    for word, csv, count in (("train", "train_images.csv", 60_000), ("test", "test_images.csv", 10_000)):
        (part,) = (path for path in mnist.iterdir() if word in path.name)
        paths = [path for digit in range(10) for path in sorted((part / str(digit)).iterdir(), key=by_number)]
        labels, pixels = read_csv(tmp_path / csv)
        assert len(labels) == len(paths) == count
        for label, row, path in zip(labels, pixels, paths):
            with Image.open(path) as image:
                assert label == int(path.parent.name) and (row == np.asarray(image.convert("L")).ravel()).all(), path


# Several folders.


def test_the_rows_of_several_folders_follow_one_another(tmp_path, folder):
    make_folders(tmp_path / "own", "train", "test")
    shutil.rmtree(tmp_path / "own" / "test")  # pictures to learn from, and none to test with
    for path in (tmp_path / "own").rglob("10.jpg"):
        path.unlink()
    result = convert("own", "digits", "own", "-o", ".", cwd=tmp_path, check=0)
    assert "train_images.csv: 40 rows from own (10), digits (20), own (10)" in result.stderr
    assert "test_images.csv: 10 rows from own (0), digits (10), own (0)" in result.stderr
    one, two = read_csv(tmp_path / "train_images.csv"), None
    convert("digits", "-o", ".", "-q", cwd=tmp_path, check=0)
    two = read_csv(tmp_path / "train_images.csv")
    for several, single in zip(one, two):
        np.testing.assert_array_equal(several[10:30], single)
        np.testing.assert_array_equal(several[:10], single[::2])
        np.testing.assert_array_equal(several[30:], single[::2])


def test_one_folder_of_several_that_cannot_be_used_is_named(tmp_path, folder):
    assert "nowhere: No such file or directory" in error_line(convert("digits", "nowhere", "-o", ".", cwd=tmp_path))
    assert os.listdir(tmp_path) == ["digits"]


def test_a_folder_that_adds_nothing_is_named(tmp_path, folder):
    """Who names the training folder itself, or has no training folder, would not notice that the others were taken."""
    (tmp_path / "mine" / "0").mkdir(parents=True)
    shutil.copy(drawn(0), tmp_path / "mine" / "0")
    training = next(path for path in (tmp_path / "digits").iterdir() if "train" in path.name.lower())
    for useless in (training, "mine"):
        line = error_line(convert("digits", useless, "-o", ".", cwd=tmp_path))
        assert f"{useless}: no pictures there: name a folder that holds training/0 to 9" in line


# Bad pictures and folders.


def bad_pictures(folder):
    """Put one file of every bad kind into `folder`, and return what must be said of each."""
    good = drawn(3).read_bytes()
    (folder / "text.jpg").write_text("no picture")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "cut.jpg").write_bytes(good[: len(good) // 2])
    (folder / "folder.jpg").mkdir()
    (folder / "dangling.jpg").symlink_to("nowhere")
    os.mkfifo(folder / "fifo.jpg")
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(folder)  # as a socket's path must be short
        server.bind("socket.jpg")
        os.chdir(here)
    return {
        "text.jpg": "not a picture that can be read: save it as JPG or PNG",
        "empty.jpg": "empty file",
        "cut.jpg": "truncated",
        "folder.jpg": "a folder, not a picture",
        "dangling.jpg": "No such file",
        "fifo.jpg": "not a regular file",
        "socket.jpg": "not a regular file",
    }


@pytest.mark.skipif(os.name == "nt", reason="FIFOs and sockets are POSIX's")
def test_bad_pictures_are_named_with_the_reason_and_the_others_converted(tmp_path, folder):
    faults = bad_pictures(folder / "training" / "4")
    for name in (".hidden.jpg", "Thumbs.db", "desktop.ini"):
        (folder / "training" / "4" / name).write_text("skipped")
    result = convert(folder, "-o", ".", "-q", cwd=tmp_path, check=1)
    lines = {line.split(": ")[2].split("/")[-1]: line for line in result.stderr.splitlines()}
    assert sorted(lines) == sorted(faults)
    for name, reason in faults.items():
        assert reason in lines[name], lines[name]
    assert len(read_csv(tmp_path / "train_images.csv")[0]) == 20


@pytest.mark.parametrize(
    "spoil, message",
    [
        (shutil.rmtree, "digits: No such file or directory"),
        (lambda d: (shutil.rmtree(d), d.write_text("")), "digits: Not a directory"),
        (lambda d: shutil.rmtree(d / "training"), 'no pictures in a sub-folder with "train" in its name'),
        (lambda d: shutil.rmtree(d / "testing"), 'no pictures in a sub-folder with "test" in its name'),
        (lambda d: (d / "train2").mkdir(), "more than one sub-folder"),
        (lambda d: (d / "testing").rename(d / "latest_photos"), 'no pictures in a sub-folder with "test" in its name'),
        (lambda d: (shutil.rmtree(d / "testing/3"), shutil.rmtree(d / "testing/8")), "no sub-folder 3, 8"),
        (
            lambda d: [p.unlink() for p in d.glob("testing/*/*")],
            'digits: no pictures in a sub-folder with "test" in its name',
        ),
        (lambda d: [p.write_text("x") for p in d.glob("training/*/*")], "none of the 20 pictures can be read"),
    ],
)
def test_folders_that_cannot_be_used_change_nothing(tmp_path, folder, spoil, message):
    for csv in ("train_images.csv", "test_images.csv"):
        (tmp_path / csv).write_text("old")
    spoil(folder)
    result = convert("digits", "-o", ".", cwd=tmp_path, check=2)
    line = result.stderr.splitlines()[-1]
    assert line.startswith("data_tocsv.py: error: ") and message in line, line
    for csv in ("train_images.csv", "test_images.csv"):
        assert (tmp_path / csv).read_text() == "old"


@pytest.mark.parametrize(
    "output, message", [("missing", "there is no such folder: make it first"), ("file", "Not a directory")]
)
def test_an_output_folder_that_cannot_be_used(tmp_path, folder, output, message):
    (tmp_path / "file").write_text("")
    assert message in error_line(convert(folder, "-o", output, cwd=tmp_path))


def test_an_output_file_that_is_a_folder_is_left_alone(tmp_path, folder):
    (tmp_path / "train_images.csv").mkdir()
    assert "not a file that can be replaced" in error_line(convert(folder, "-o", ".", cwd=tmp_path))


def test_a_link_in_the_place_of_the_output_stays_a_link(tmp_path, folder):
    (tmp_path / "train_images.csv").symlink_to("elsewhere.csv")
    convert(folder, "-o", ".", cwd=tmp_path, check=0)
    assert (tmp_path / "train_images.csv").is_symlink()
    assert len(read_csv(tmp_path / "elsewhere.csv")[0]) == 20


# Reading CSV files.


def read(tmp_path, text):
    path = tmp_path / "x.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    labels, pixels = read_csv(path)
    return np.column_stack([labels, pixels])


HEADER = ",".join(["label", *(f"pixel{i}" for i in range(784))]) + "\n"


@pytest.mark.parametrize(
    "text",
    [
        TEXT,
        HEADER + TEXT,
        TEXT.replace("\n", "\r\n"),
        "\ufeff" + TEXT,
        "\ufeff" + HEADER + TEXT,
        TEXT.rstrip("\n"),
        TEXT.replace(",", ", "),
        TEXT.replace("\n", "\n\n"),
        TEXT.replace(",9,", ",009,"),
    ],
    ids=["plain", "header", "CRLF", "BOM", "BOM and header", "no last newline", "spaces", "blank lines", "zeros"],
)
def test_csv_files_are_read_as_others_write_them(tmp_path, text):
    np.testing.assert_array_equal(read(tmp_path, text), ROWS)


def with_value(row, column, value):
    lines = [line.split(",") for line in TEXT.splitlines()]
    lines[row][column] = value
    return "".join(",".join(line) + "\n" for line in lines)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "no rows"),
        ("\n\n", "no rows"),
        (HEADER, "no rows"),
        (with_value(1, 5, "256"), "line 2: value 6 is '256', not a whole number from 0 to 255"),
        (with_value(1, 5, "-1"), "line 2: value 6 is '-1'"),
        (with_value(2, 784, "x"), "line 3: value 785 is 'x'"),
        (with_value(0, 9, ""), "line 1: value 10 is ''"),
        (with_value(0, 9, "1.0"), "line 1: value 10 is '1.0'"),
        (with_value(0, 9, "1e2"), "line 1: value 10 is '1e2'"),
        (with_value(0, 9, "1e400"), "line 1: value 10 is '1e400'"),
        (with_value(0, 9, "nan"), "line 1: value 10 is 'nan'"),
        (with_value(0, 9, '"5"'), "line 1: value 10 is '\"5\"'"),
        (with_value(2, 9, "0256"), "line 3: value 10 is '0256'"),
        (with_value(0, 8, "007").replace("007,9,", "007,x,"), "line 1: value 10 is 'x'"),
        (with_value(2, 0, "10"), "line 3: the label is 10, not 0 to 9"),
        (HEADER + "\n" + with_value(1, 0, "255"), "line 4: the label is 255"),
        (HEADER + with_value(1, 0, "x"), "line 3: value 1 is 'x'"),
        (TEXT.replace("\n", ",\n"), "line 1: 786 values, not 785"),
        (TEXT + "1,2,3\n" + TEXT, "line 4: 3 values, not 785"),
        (TEXT[2:], "line 1: 784 values, not 785"),
        (TEXT + TEXT[:-50], "line 6: "),
        ("1" * 100_000, "line 1: longer than 10,000 characters"),
        (TEXT + "1," * 100_000, "line 4: longer than 10,000 characters"),
        (bytes(range(256)) * 20, "line 1: "),
    ],
)
def test_a_wrong_csv_file_is_refused_with_the_line_and_the_reason(tmp_path, text, message):
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / 'x.csv'}: ") and message in str(caught.value)


def test_a_missing_csv_file_names_the_script_that_makes_it(tmp_path):
    assert "run data_tocsv.py first" in error_line(run("train_network.py", cwd=tmp_path))


def test_every_value_is_written_and_read_back(tmp_path):
    rows = np.random.default_rng(0).integers(0, 256, (100, 785), dtype=np.uint8)
    rows[:, 0] %= 10
    np.testing.assert_array_equal(read(tmp_path, to_csv(rows)), rows)


def test_the_sample_is_drawn_in_mnist_s_layout():
    for part in ("training", "testing"):
        assert sorted(path.name for path in (SAMPLE / part).iterdir()) == list("0123456789")
