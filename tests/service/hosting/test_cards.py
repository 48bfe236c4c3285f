"""Several cards in one machine."""

import pytest

from seg import cuda_driver
from seg.cuda_driver import DEVICE_VARIABLE, chosen_device, take_only_card
from seg.errors import ConfigError
from seg.inference.backends.sessions import cuda_options
from service.hosting import supervisor
from service.hosting.supervisor import take_a_card
from service.settings import Settings


@pytest.fixture(autouse=True)
def nothing_chosen(monkeypatch):
    monkeypatch.setenv(DEVICE_VARIABLE, "")


@pytest.mark.parametrize(
    ("cards", "devices"), [(0, [0, 0, 0]), (1, [0, 0, 0]), (2, [0, 1, 0]), (4, [0, 1, 2])]
)
def test_workers_take_cards_in_turn(monkeypatch, cards, devices):
    monkeypatch.setattr(supervisor, "cuda_devices", lambda: cards)
    taken = []
    for worker in (1, 2, 3):
        monkeypatch.setenv(DEVICE_VARIABLE, "")
        take_a_card(worker)
        taken.append(chosen_device())
        assert cuda_options()["device_id"] == str(taken[-1])
    assert taken == devices


def test_what_an_operator_has_chosen_stays(monkeypatch):
    monkeypatch.setattr(supervisor, "cuda_devices", lambda: 4)
    monkeypatch.setenv(DEVICE_VARIABLE, "3")
    take_a_card(1)
    assert chosen_device() == 3


@pytest.mark.parametrize("said", ["GPU-3b1c", "1.5", "-1", "first"])
def test_what_is_no_number_of_a_card_is_refused_in_a_sentence(monkeypatch, said):
    monkeypatch.setenv(DEVICE_VARIABLE, said)
    with pytest.raises(ConfigError, match="SEG_CUDA_DEVICE is the number of a card"):
        chosen_device()


@pytest.mark.parametrize("said", ["8GB", "0", "-1", "inf", "nan"])
def test_what_is_no_size_of_memory_is_refused_in_a_sentence(monkeypatch, said):
    monkeypatch.setenv("SEG_CUDA_MEMORY_MB", said)
    with pytest.raises(ConfigError, match="SEG_CUDA_MEMORY_MB is a number of megabytes above 0"):
        cuda_options()


@pytest.mark.parametrize(("in_sight", "device"), [(1, 0), (2, 3), (0, 3)])
def test_the_only_card_that_a_scheduler_lends_is_taken(monkeypatch, in_sight, device):
    monkeypatch.setattr(cuda_driver, "cuda_devices", lambda: in_sight)
    monkeypatch.setenv(DEVICE_VARIABLE, "3")
    take_only_card()
    assert chosen_device() == device


def test_a_network_holds_no_more_of_a_card_than_it_may(monkeypatch):
    assert "gpu_mem_limit" not in cuda_options()
    monkeypatch.setenv("SEG_CUDA_MEMORY_MB", "4000")
    assert cuda_options()["gpu_mem_limit"] == "4000000000"


def test_the_service_knows_the_names_of_both():
    said = {"SEG_CUDA_DEVICE": "1", "SEG_CUDA_MEMORY_MB": "4000"}
    settings = Settings.from_environment(said)
    assert (settings.cuda_device, settings.cuda_memory_mb) == (1, 4000)
