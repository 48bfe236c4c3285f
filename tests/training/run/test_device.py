"""Which device trains, on cards that are made up."""

import logging
from types import SimpleNamespace

import pytest
import torch

from seg.errors import ConfigError
from training.run import device as module
from training.run.device import Device, find_device, lower_precision
from training.run.processes import World

CARD = Device("cuda", "made up")


@pytest.fixture
def machine(monkeypatch):
    """A machine with two cards of a capability, as torch and the driver see it."""

    def made(capability=(9, 0), *, torch_sees=True, cuda="13.0", driver=(13, 0), cards=2):
        major, minor = capability
        taken = []
        for name, function in {
            "is_available": lambda: torch_sees,
            "device_count": lambda: cards,
            "current_device": lambda: 1,
            "set_device": taken.append,
            "get_device_name": lambda index=None: f"card {index}",
            "get_device_capability": lambda device: capability,
            "get_device_properties": lambda device: SimpleNamespace(major=major, minor=minor),
            "get_arch_list": lambda: ["sm_75", "sm_80", "sm_90a", "compute_120"],
        }.items():
            monkeypatch.setattr(torch.cuda, name, function)
        monkeypatch.setattr(torch.version, "cuda", cuda)
        monkeypatch.setattr(torch.version, "hip", None)
        monkeypatch.setattr(module, "cuda_devices", lambda: cards)
        monkeypatch.setattr(module, "driver_version", lambda: driver)
        return taken

    monkeypatch.delenv("SEG_CUDA_DEVICE", raising=False)
    return made


def test_the_first_card_trains_and_is_the_one_that_is_measured(machine):
    taken = machine()
    assert find_device() == Device("cuda", "card 0", index=0)
    assert taken == [0]


def test_the_card_that_an_operator_chose_trains(machine, monkeypatch):
    taken = machine()
    monkeypatch.setenv("SEG_CUDA_DEVICE", "1")
    assert find_device().index == 1
    assert taken == [1]
    monkeypatch.setenv("SEG_CUDA_DEVICE", "2")
    with pytest.raises(ConfigError, match="there are 2 CUDA devices, and SEG_CUDA_DEVICE asks"):
        find_device()


def test_of_several_processes_each_keeps_the_card_that_it_took(machine, monkeypatch):
    machine()
    monkeypatch.setenv("SEG_CUDA_DEVICE", "0")
    assert find_device(World(1, 2)).index == 1


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"capability": (7, 0)}, "compute capability 7.0, and this torch has code from 7.5 on"),
        (
            {"torch_sees": False, "driver": (12, 8)},
            "driver knows CUDA up to 12.8, this torch is made for 13.0: update the driver",
        ),
        ({"torch_sees": False, "cuda": None}, "this torch was built without CUDA"),
    ],
)
def test_a_card_that_torch_cannot_use_is_told(machine, caplog, made, words):
    machine(**made)
    with caplog.at_level(logging.WARNING, "training"):
        assert find_device().kind == "cpu"
    assert words in caplog.text


def test_a_newer_minor_version_of_cuda_needs_no_newer_driver(machine, caplog):
    machine(cuda="13.2", driver=(13, 0))
    assert find_device().kind == "cuda"


def test_where_no_card_is_nothing_is_said(machine, caplog):
    machine(torch_sees=False, cards=0)
    assert find_device().kind == "cpu"
    assert not caplog.messages


@pytest.mark.parametrize(
    ("capability", "precision"), [((7, 5), "float16"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")]
)
def test_cards_that_only_imitate_bfloat16_train_in_float16(machine, capability, precision):
    machine(capability)
    assert lower_precision(CARD) == precision
