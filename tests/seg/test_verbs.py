"""One command with a verb for each of the others."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import seg
from seg.verbs import VERBS, main
from seg.version import VERSION

ROOT = Path(seg.__file__).parents[1]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_names_a_command(verb):
    assert importlib.util.find_spec(VERBS[verb][0]) is not None


def test_help_lists_every_verb(capsys):
    assert main(["--help"]) == 0
    listed = capsys.readouterr().out
    assert all(f"  {verb} " in listed for verb in VERBS)


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"seg {VERSION}\n"


def test_a_misspelt_verb_is_answered_with_the_nearest(capsys):
    assert main(["predcit"]) == 2
    assert "did you mean predict?" in capsys.readouterr().err


def test_a_verb_that_the_wheel_lacks_says_where_it_is(monkeypatch, capsys, tmp_path):
    stranger = tmp_path / "training"
    stranger.mkdir()
    (stranger / "__init__.py").write_text("raise SystemExit('run')\n")
    monkeypatch.setattr(sys, "path", [str(tmp_path), *(p for p in sys.path if p != str(ROOT))])
    for name in [name for name in sys.modules if name.partition(".")[0] == "training"]:
        monkeypatch.delitem(sys.modules, name)
    assert main(["fit", "--help"]) == 2
    assert "not part of the wheel" in capsys.readouterr().err


def test_serving_is_explained_in_our_words(capsys):
    assert main(["serve", "--help"]) == 0
    assert "SEG_PACKAGE=DIR seg serve" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "served"),
    [
        ([], ["service.bento:Segmenter"]),
        (["--port", "3000"], ["service.bento:Segmenter", "--port", "3000"]),
        (["segmenter:latest", "--port", "3000"], ["segmenter:latest", "--port", "3000"]),
    ],
)
def test_a_service_is_started_without_a_report_to_bentoml_s_makers(monkeypatch, words, served):
    monkeypatch.delenv("BENTOML_DO_NOT_TRACK", raising=False)
    started = []
    monkeypatch.setattr(
        "runpy.run_module",
        lambda name, **_: started.append((name, sys.argv[1:], os.environ["BENTOML_DO_NOT_TRACK"])),
    )
    monkeypatch.setattr(sys, "argv", ["seg"])
    assert main(["serve", *words]) == 0
    assert started == [("bentoml", ["serve", *served], "True")]


def test_files_of_the_user_with_our_names_are_not_taken_for_ours(tmp_path):
    for name in ("service.py", "training.py", "data.py", "seg.py"):
        (tmp_path / name).write_text("raise SystemExit('taken for ours')\n")
    script = f"import sys; sys.path.pop(0); sys.path.insert(0, {str(ROOT)!r})\n"
    script += "from seg.verbs import main; sys.exit(main(['keys', '--help']))"
    answer = subprocess.run(
        [sys.executable, "-P", "-c", script], cwd=tmp_path, capture_output=True, text=True
    )
    assert answer.returncode == 0, answer.stderr
    assert "seg keys" in answer.stdout or "service.keys" in answer.stdout
