"""Settings come from variables of the environment, and from nowhere else."""

from pathlib import Path

import pytest

from seg.errors import ConfigError
from service.settings import PREFIX, Settings


def test_every_setting_has_a_variable_of_its_name():
    values = {"timeout_s": "12.5", "max_requests": "7", "models": "/models", "keys": "required"}
    environment = {PREFIX + name.upper(): value for name, value in values.items()}
    settings = Settings.from_environment(environment)
    assert settings.model_fields_set == set(values)
    assert (settings.timeout_s, settings.max_requests) == (12.5, 7)
    assert (settings.models, settings.keys) == (Path("/models"), "required")


def test_every_text_reaches_its_setting_as_it_is_written():
    texts = {
        name: "a,b=[1]"
        for name, field in Settings.model_fields.items()
        if field.annotation in (str, str | None) and not field.metadata and name != "frontends"
    }
    assert len(texts) > 5
    settings = Settings.from_environment({PREFIX + n.upper(): text for n, text in texts.items()})
    assert {name: getattr(settings, name) for name in texts} == texts


def test_an_empty_variable_counts_as_not_set():
    empty = {PREFIX + name.upper(): "" for name in Settings.model_fields}
    assert Settings.from_environment(empty) == Settings.from_environment({}) == Settings()
    assert Settings.from_environment(empty).model_fields_set == set()


def test_other_variables_are_not_ours():
    others = {"SEG_DICOMWEB_PACS_FILE": "x", "seg_timeout_s": "1", "TIMEOUT_S": "2", "SEG_KEY": "k"}
    assert Settings.from_environment(others) == Settings()


def test_what_is_made_in_python_does_not_look_round(monkeypatch):
    monkeypatch.setenv("SEG_TIMEOUT_S", "7")
    assert Settings().timeout_s == 300
    assert Settings.from_environment().timeout_s == 7


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("SEG_MAX_BODY_MB", "much", "SEG_MAX_BODY_MB cannot be 'much': input should be a valid "),
        ("SEG_MAX_REQUESTS", "0", "SEG_MAX_REQUESTS cannot be '0': input should be greater than "),
        ("SEG_KEYS", "on", "SEG_KEYS cannot be 'on': input should be 'auto', 'required' or 'off'"),
        ("SEG_CUDA_DEVICE", "-1", "SEG_CUDA_DEVICE cannot be '-1': input should be greater than "),
    ],
)
def test_a_value_that_cannot_be_is_told_in_a_sentence(variable, value, sentence):
    with pytest.raises(ConfigError) as error:
        Settings.from_environment({variable: value})
    assert str(error.value).startswith(sentence)
    assert "\n" not in str(error.value)


def test_unknown_settings_and_changes_are_refused():
    with pytest.raises(ValueError, match="extra"):
        Settings(timeout=3)
    with pytest.raises(ValueError, match="frozen"):
        Settings().timeout_s = 3
