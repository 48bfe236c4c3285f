"""What a step takes of a card's memory, on a card that is made up."""

import pytest
import torch

from training.run.memory import SHARE_TO_FILL, free_bytes, peak_of

GIB = 2**30


class MadeUpCard:
    """Allocates for a step and frees it; what was freed stays reserved until it is given back."""

    reserved = peak_reserved = allocated = peak_allocated = 0

    def step(self, gib):
        self.allocated += gib * GIB
        self.peak_allocated = max(self.peak_allocated, self.allocated)
        self.reserved = max(self.reserved, self.allocated)
        self.peak_reserved = max(self.peak_reserved, self.reserved)
        self.allocated -= gib * GIB

    def forget(self):
        self.peak_reserved, self.peak_allocated = self.reserved, self.allocated

    def give_back(self):
        self.reserved = self.allocated


@pytest.fixture
def card(monkeypatch):
    card = MadeUpCard()
    for name, function in {
        "memory_reserved": lambda *_: card.reserved,
        "max_memory_reserved": lambda *_: card.peak_reserved,
        "memory_allocated": lambda *_: card.allocated,
        "max_memory_allocated": lambda *_: card.peak_allocated,
        "reset_peak_memory_stats": lambda *_: card.forget(),
        "empty_cache": card.give_back,
        "mem_get_info": lambda *_: (24 * GIB - card.reserved, 24 * GIB),
    }.items():
        monkeypatch.setattr(torch.cuda, name, function)
    return card


@pytest.mark.parametrize("needs", [(10, 6, 12), (1, 1), (12, 3)])
def test_each_step_is_measured_whatever_ran_before(card, needs):
    for gib in needs:
        with peak_of("cuda") as peak:
            card.step(gib)
        assert peak.bytes - peak.before == gib * GIB


def test_what_did_not_fit_leaves_nothing_behind(card):
    def too_large():
        with peak_of("cuda"):
            card.step(20)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        too_large()
    assert card.reserved == 0


def test_what_lies_on_the_card_already_is_not_counted(card):
    card.allocated = 3 * GIB
    with peak_of("cuda") as peak:
        card.step(2)
    assert peak.bytes - peak.before == 2 * GIB


def test_what_torch_keeps_for_later_is_free(card):
    card.step(20)
    assert free_bytes("cuda") == int(SHARE_TO_FILL * 24 * GIB)
