"""A device without values in place of a card: whoever asks for one gets an error.

What is copied there from the host raises none, and would be waited for as well: two modes note it.
"""

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

META = torch.device("meta")


class MadeThere(TorchFunctionMode):
    """Notes what is made on ``META`` of numbers of the host: copied, and waited for."""

    def __init__(self):
        super().__init__()
        self.noted = []

    def __torch_function__(self, function, types, arguments=(), options=None):
        options = options or {}
        makes = function in (torch.tensor, torch.as_tensor, torch.asarray)
        if makes and options.get("device") not in (None, "cpu", torch.device("cpu")):
            self.noted.append(arguments)
        return function(*arguments, **options)


class Crossings(TorchDispatchMode):
    """Notes what is copied between the host and ``META``, and so waited for."""

    def __init__(self):
        super().__init__()
        self.noted = []

    def __torch_dispatch__(self, function, types, arguments=(), options=None):
        result = function(*arguments, **(options or {}))
        tensors = [each for each in (*arguments, result) if isinstance(each, torch.Tensor)]
        kinds = {each.device.type for each in tensors if each.ndim or each is result}
        if "copy" in function.__name__ and len(kinds) > 1:
            self.noted.append(function.__name__)
        return result
