"""Every command reads its arguments before anything is imported that takes seconds."""

import ast
import importlib
import json
import re
import runpy
import subprocess
import sys
from importlib.util import cache_from_source
from pathlib import Path

import pytest

import seg
from seg import names
from seg.verbs import GROUPS, VERBS, called

ROOT = Path(seg.__file__).parents[1]
SLOW = {
    *("torch", "lightning", "monai", "segmentation_models_pytorch", "albumentations", "mlflow"),
    *("scipy", "skimage", "sklearn", "matplotlib", "nibabel", "pydicom", "highdicom", "zarr"),
    *("onnx", "onnxruntime", "openvino", "ray", "pandas", "bentoml", "sqlalchemy"),
}
NO_COMMANDS = {
    "service.models.trial": "a process of its own, which tries a package that is put",
    "service.studio.training_process": "a process of its own, which runs what the studio orders",
    "training.interchange.unpickle": "a process of its own, started by its path and no person",
}
RUN = """
import contextlib, io, json, runpy, sys
def by_verb():
    sys.argv.insert(1, {verb!r})
    sys.exit(runpy.run_module("seg.verbs")["main"]())
def by_python():
    runpy.run_module({command!r}, run_name="__main__", alter_sys=True)
answers = []
for way in ({ways}):
    for option in ("--help", "--no-such-option"):
        sys.argv = ["seg", option]
        out, err = io.StringIO(), io.StringIO()
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                way()
                status = "it goes on"
            except SystemExit as end:
                status = end.code or 0
        answers.append((status, out.getvalue(), err.getvalue()))
    for name in [name for name in sys.modules if name.partition(".")[0] in {rooms!r}]:
        del sys.modules[name]  # a help is made once, for the way that was taken
print(json.dumps([answers, sorted({slow!r} & set(sys.modules))]))
"""
OTHERWISE = {
    "bentoml": "seg serve",
    "seg.verbs": "seg VERB",
    "service.client": "python -m seg.client",
    "service.hosting.stripped": "stripped.py [-h]",
}
"""What usage says where it is not the module: a former name, a script that stands alone."""
ROOMS = ("seg", "training", "service", "data")
FIXED = re.compile(
    r"python -m (?:seg|training|service|data)\.\w|"
    rf"\b(?:{'|'.join(re.escape(name) for name, _ in VERBS.values() if '.' in name)}) -"
)
"""A command in a string, which says ``called`` where it is printed."""
FOR_OTHERS = {
    "training/interchange/huggingface/leave.py": "travels to people who called nothing",
    "service/hosting/container_image.py": "lines of a recipe, which no person types",
    "service/middleware/access.py": "answered over HTTP, where nobody called a command",
    "service/middleware/key_file.py": "answered over HTTP, where nobody called a command",
    "service/frontends/monailabel/routes.py": "answered over HTTP, where nobody called a command",
    "service/models/folder.py": "told by a service, which a supervisor started",
}


def commands():
    """Names of all modules that end in ``if __name__ == "__main__"``."""
    for room in ROOMS:
        for file in sorted((ROOT / room).rglob("*.py")):
            if any(is_start(node) for node in ast.parse(file.read_text()).body):
                parts = file.relative_to(ROOT).with_suffix("").parts
                name = ".".join(parts[:-1] if parts[-1] == "__main__" else parts)
                if name not in NO_COMMANDS:
                    yield name


def is_start(node):
    return isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'"


def asked(command, ways):
    """Status, output and errors for ``--help`` and for a wrong option, and what was imported."""
    verb = VERB_OF.get(command, "")
    program = RUN.format(verb=verb, command=command, ways=ways, rooms=ROOMS, slow=SLOW)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def check_answers(help_, typo, name):
    status, printed, _ = help_
    assert status == 0
    assert printed.lower().startswith("usage:")
    assert name in printed.partition("\n\n")[0], "another way to call it than was taken"
    assert "``" not in printed, "marks of the source's documentation"
    status, printed, complaint = typo
    assert (status, printed) == (2, "")
    assert "Traceback" not in complaint
    *usage, sentence = complaint.strip().splitlines()
    assert re.search(r"error: \S", sentence, re.IGNORECASE)
    assert not any("error" in line for line in usage)


VERB_OF = {module: verb for verb, (module, _) in VERBS.items()}


@pytest.mark.parametrize("command", [*commands(), "bentoml"])
def test_help_and_a_wrong_option_are_answered_without_importing_what_is_slow(command):
    ways = {"by_verb": f"seg {VERB_OF.get(command)}", "by_python": f"python -m {command}"}
    if command not in VERB_OF:
        del ways["by_verb"]
    if command in OTHERWISE:
        ways = dict.fromkeys(list(ways)[:1], OTHERWISE[command])
    answers, imported = asked(command, "".join(f"{way}, " for way in ways))
    for number, name in enumerate(ways.values()):
        check_answers(*answers[2 * number : 2 * number + 2], name)
    assert set(imported) <= ({"bentoml"} if command == "bentoml" else set())


@pytest.mark.parametrize(
    ("verb", "line"),
    [
        ("", "python -m training.fit --resume 'runs/my run'"),
        ("fit", "seg fit --resume 'runs/my run'"),
    ],
)
def test_a_command_is_printed_as_the_shell_s_user_calls_commands(monkeypatch, verb, line):
    monkeypatch.setenv("SEG_BY_VERB", verb)
    assert called("training.fit", "--resume", Path("runs/my run")) == line
    assert called("seg.client") == "python -m seg.client"


CLIENT = ["seg.client.__main__", "http://127.0.0.1:9", "image.png"]
SMP = ["training.adopt", "smp", "file", "-o", "new", "--arch", "unet", "--encoder", "resnet18"]
KEY = ["service.keys", "--file", "keys.json", "add"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        pytest.param(["data.fetch", "phantom", "--out", ""], "an empty name", id="fetch nowhere"),
        pytest.param(["service.keys", "--file", "", "add", "me"], "an empty name", id="no file"),
        pytest.param([*KEY, ""], "a name has a letter", id="nobody's key"),
        pytest.param([*KEY, "me\n0 admin"], "no end of a line", id="two lines of keys"),
        pytest.param([*KEY, "me", "--per-minute", "0"], "from 1 on, got '0'", id="no request"),
        pytest.param([*KEY, "me", "--days", "nan"], "finite number, got 'nan'", id="no day"),
        pytest.param([*KEY, "me", "--days", "1e9"], "no more than a century", id="for ever"),
        pytest.param(["service.build", ""], "an empty name", id="build nothing"),
        pytest.param([*SMP, "--classes", "a", "b", "--in-channels", "0"], "from 1 on", id="blind"),
        pytest.param([*SMP, "--classes", "a", "b", "--patch", "-1", "9"], "from 1 on", id="patch"),
        pytest.param([*SMP, "--classes", "a", "b", "--mean", "inf"], "got 'inf'", id="mean"),
        pytest.param([*SMP, "--classes", "a", "b", "--std", "0"], "above 0, got '0'", id="by 0"),
        pytest.param([*SMP, "--classes", "a", "b", "--overlap", "x"], "got 'x'", id="overlap"),
        pytest.param([*CLIENT, "--ca", "missing.pem"], "missing.pem is no file", id="no authority"),
        pytest.param([*CLIENT, "--ca", ""], "an empty name", id="nobody's authority"),
    ],
)
def test_what_no_option_can_be_is_one_sentence_before_anything_is_done(
    line, said, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    command, *arguments = line
    with pytest.raises(SystemExit) as end:
        importlib.import_module(command).main(arguments)
    assert end.value.code == 2
    *_, told = capsys.readouterr().err.splitlines()
    assert said in told
    assert not list(tmp_path.iterdir())


def test_no_printed_line_calls_a_command_in_one_way_alone():
    fixed = {
        str(file.relative_to(ROOT))
        for room in ROOMS
        for file in (ROOT / room).rglob("*.py")
        if any(FIXED.search(text) for text in printed_texts(ast.parse(file.read_text())))
    }
    assert fixed == set(FOR_OTHERS)


def printed_texts(tree):
    """All strings but those that document."""
    documents = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in documents:
            yield node.value


def test_every_command_is_found():
    found = set(commands())
    verbs = {module for module, _ in VERBS.values()} - {"bentoml"}
    assert verbs <= found
    assert sorted(verb for verbs in GROUPS.values() for verb in verbs) == sorted(VERBS)
    users = {name for name in found if name.count(".") == 1} - {"seg.verbs"}
    assert users - verbs == {"seg.model_package", "seg.client", "service.client"}
    documented = {
        name
        for page in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md"))
        for name in re.findall(r"python -m ((?:seg|training|service|data)[\w.]*)", page.read_text())
    }
    assert documented <= found


def test_names_that_a_command_line_lists_are_those_of_the_registries():
    from seg.images import MASK_FORMATS, PROBABILITY_FORMATS
    from seg.inference import outputs_for
    from seg.networks import PRESETS, SHORTCUTS
    from seg.objects import OBJECT_FORMATS

    assert tuple(MASK_FORMATS) == names.MASK_NAMES
    assert tuple(PROBABILITY_FORMATS) == names.PROBABILITY_NAMES
    assert tuple(OBJECT_FORMATS) == names.OBJECT_NAMES
    assert tuple(PRESETS) == names.PRESET_NAMES
    assert tuple(SHORTCUTS) == names.SHORTCUT_NAMES
    assert set(outputs_for(2)) | set(outputs_for(3)) == set(names.OUTPUT_NAMES)


@pytest.mark.parametrize("room", ["seg.model_package", "seg.networks", "seg.client"])
def test_a_room_has_all_that_it_shows(room):
    program = f"import {room} as room; [getattr(room, name) for name in room.__all__]"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)
    program = f"from {room} import nothing_of_the_kind"
    asked = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True)
    assert b"ImportError: cannot import name 'nothing_of_the_kind'" in asked.stderr


def test_what_tests_run_as_a_command_leaves_no_bytecode_with_their_checks_in_it():
    kept = Path(cache_from_source(str(ROOT / "seg" / "sentences.py")))
    kept.unlink(missing_ok=True)
    runpy.run_module("seg.sentences")
    assert not kept.exists() or b"jaxtyp" not in kept.read_bytes()
