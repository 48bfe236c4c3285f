"""Where the moving average of the weights lives, and what it says."""

from types import SimpleNamespace

import lightning.pytorch as pl
import pytest
import torch

from training.learning.watch import MovingAverage

QUIET = {
    "logger": False,
    "enable_checkpointing": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
}


class Small(pl.LightningModule):
    """One layer and a buffer that counts, as a batch norm has it."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.register_buffer("steps", torch.tensor(0))
        self.seen = []

    def training_step(self, batch, index):
        self.steps += 1
        return self.layer(batch[0]).sum()

    def on_train_batch_start(self, batch, index):
        self.seen.append(self.layer.weight.detach().clone())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


def fitted(average, steps, **options):
    module = Small()
    data = torch.utils.data.TensorDataset(torch.randn(8, 2))
    trainer = pl.Trainer(accelerator="cpu", max_steps=steps, callbacks=[average], **QUIET)
    trainer.fit(module, torch.utils.data.DataLoader(data), **options)
    return trainer, module


def test_the_average_lives_on_the_device_of_the_network():
    average = MovingAverage(0.9)
    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("meta")))
    module = Small()
    average.setup(trainer, module, "fit")  # Lightning calls this while all is on the host
    average.on_fit_start(trainer, module)
    assert {tensor.device.type for tensor in average._average_model.module.parameters()} == {"meta"}
    assert average._average_model.n_averaged.device.type == "cpu"


def test_weights_are_averaged_and_counters_are_copied():
    average = MovingAverage(0.5)
    module = Small()
    trainer = SimpleNamespace(strategy=SimpleNamespace(root_device=torch.device("cpu")))
    average.on_fit_start(trainer, module)
    expected = None
    for count in range(6):
        with torch.no_grad():
            module.layer.weight += torch.randn(1, 2)
        module.steps += 1
        average._average_model.update_parameters(module)
        kept = 0.0 if expected is None else min((count + 1) / (count + 10), 0.5)
        old = module.layer.weight if expected is None else expected
        expected = kept * old.detach() + (1 - kept) * module.layer.weight.detach()
    torch.testing.assert_close(average._average_model.module.layer.weight.detach(), expected)
    assert int(average._average_model.module.steps) == 6


def test_a_resumed_average_goes_on_as_it_would_have(tmp_path):
    torch.manual_seed(0)
    whole = MovingAverage(0.9)
    fitted(whole, 6)
    torch.manual_seed(0)
    trainer, _ = fitted(MovingAverage(0.9), 3)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    state = torch.load(tmp_path / "half.ckpt", weights_only=True)
    assert int(state["averaging_state"]["n_averaged"]) == 3
    resumed = MovingAverage(0.9)
    fitted(resumed, 6, ckpt_path=tmp_path / "half.ckpt", weights_only=True)
    assert int(resumed._average_model.n_averaged) == 6


@pytest.mark.parametrize("count", [1, 3])
def test_one_call_of_the_device_averages_all_tensors(count, monkeypatch):
    calls = []
    lerp = torch._foreach_lerp_
    monkeypatch.setattr(torch, "_foreach_lerp_", lambda *args: (calls.append(1), lerp(*args)))
    fitted(MovingAverage(0.9), count + 1)
    assert len(calls) == count
