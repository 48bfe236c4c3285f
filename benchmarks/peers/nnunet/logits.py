"""What nnU-Net's networks say to patches: PYTHON logits.py RESULTS PATCHES.npz LOGITS.npz FOLD ...

PATCHES.npz holds ``patches`` of shape (b, c, *patch) in nnU-Net's own axes; ``logits`` come back
as the mean over the folds.
"""

import sys
from pathlib import Path

import numpy as np
import torch


def main() -> None:
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    results, patches, target, *folds = sys.argv[1:]
    predictor = nnUNetPredictor(device=torch.device("cpu"))
    predictor.initialize_from_trained_model_folder(results, folds)
    with np.load(patches) as arrays:
        batch = torch.from_numpy(arrays["patches"])
    said = []
    for weights in predictor.list_of_parameters:
        predictor.network.load_state_dict(weights)
        network = predictor.network.eval()
        with torch.inference_mode():
            said.append(np.concatenate([network(patch[None]).numpy() for patch in batch]))
    np.savez(Path(target), logits=np.mean(said, axis=0))


if __name__ == "__main__":
    main()
