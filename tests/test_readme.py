"""The README is right: its commands exist, its worked example comes out, its figures add up."""

import doctest
import os
import re
import shlex
import shutil

from conftest import REPO, drawn, run

from train_network import SHAPES

README = (REPO / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", README, re.DOTALL)


def test_the_worked_example(monkeypatch):
    monkeypatch.chdir(REPO)
    (example,) = (text for language, text in BLOCKS if ">>>" in text)
    test = doctest.DocTestParser().get_doctest(example, {}, "README.md", None, 0)
    assert doctest.DocTestRunner().run(test).failed == 0


def test_the_sizes_of_the_network():
    text, total = " ".join(README.split()), sum(height * width for height, width in SHAPES.values())
    assert f" {total:,} numbers" in text
    for name, shape in SHAPES.items():
        assert f"`{name.replace('w', 'W')}` {shape}" in text


def test_no_command_has_a_comment():  # cmd on Windows has none, nor has zsh where lines are typed
    assert not any("#" in text for language, text in BLOCKS if language in ("sh", ""))


def test_every_script_and_option_that_is_named_exists_and_help_has_an_example_and_the_defaults(tmp_path):
    text = "\n".join(text for language, text in BLOCKS if language == "sh").replace("&&\n", "&& ")
    parts = [part.split(">")[0] for part in re.split(r"&&|\||\n", text)]
    commands = [shlex.split(part)[1:] for part in parts if re.match(r"\s*python \S+\.py", part)]
    usage = {script: run(script, "-h", cwd=tmp_path, check=0).stdout for script, *_ in commands}
    for script in "data_tocsv.py", "train_network.py", "predict.py":
        assert f"python {script} " in usage[script].split("\noptions:\n")[1] and "default" in usage[script]
    for script, *words in commands:
        for option in words:
            assert not option.startswith("-") or option in ("-", *re.split(r"[\s,\[\]]+", usage[script])), option
    for option in re.findall(r"`(--[a-z-]+)", README):
        assert option in "".join(usage.values()), option


def test_every_file_that_is_linked_or_named_exists():
    for path in re.findall(r"\]\(([^)#]+)\)", README) + re.findall(r"`((?:tests|datasets)/\w+\.(?:py|txt))`", README):
        assert path.startswith("https://") or (REPO / path).exists(), path


def test_from_python(digits):
    (digits / "folder").mkdir()
    (digits / "folder" / "b.jpg").write_text("no picture")
    for digit, path in (7, "7.jpg"), (2, "folder/a.jpg"):
        shutil.copy(drawn(digit), path)
    (example,) = (text for language, text in BLOCKS if language == "python" and "from predict" in text)
    first, *calls = (line.partition("  # ")[0] for line in example.splitlines() if line)
    exec(first, names := {})
    digit, digits, rows = [eval(call, names) for call in calls]
    assert digit == 7 and digits == [2, None] and rows[1] == (os.path.join("folder", "b.jpg"), None, None)
    assert rows[0][:2] == (os.path.join("folder", "a.jpg"), 2) and type(rows[0][2]) is float and 0.5 < rows[0][2] <= 1
