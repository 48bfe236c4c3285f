import os

import pytest

from seg import verbs
from service.studio.__main__ import main

NAMES = ("SEG_STUDIO", "SEG_MODELS", "SEG_TRAIN_MINUTES")


@pytest.fixture
def served(monkeypatch):
    """What would have been served: the words after ``seg``, and the variables."""
    for name in NAMES:  # set first, so that they are taken back whatever the command sets
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    calls = []
    monkeypatch.setattr(
        verbs, "main", lambda words: calls.append([words, *map(os.environ.get, NAMES)]) or 0
    )
    return calls


def test_a_folder_is_a_studio_with_its_models_beside(served, tmp_path, capsys):
    assert main([str(tmp_path / "cells"), "--port", "4000", "--minutes", "2.5"]) == 0
    models = tmp_path / "cells" / "models"
    assert served == [[["serve", "--port", "4000"], str(models.parent), str(models), "2.5"]]
    assert models.is_dir()
    assert "http://localhost:4000/studio" in capsys.readouterr().err


def test_what_the_variables_say_stays_where_nothing_is_asked(served, tmp_path, monkeypatch):
    monkeypatch.setenv("SEG_MODELS", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("SEG_TRAIN_MINUTES", "40")
    assert main([str(tmp_path / "cells")]) == 0
    assert served[0][2:] == [str(tmp_path / "elsewhere"), "40"]


def test_a_file_is_no_studio(served, tmp_path, capsys):
    (tmp_path / "cells").write_text("")
    assert main([str(tmp_path / "cells")]) == 2
    assert "a studio lies in a folder" in capsys.readouterr().err
    assert not served
