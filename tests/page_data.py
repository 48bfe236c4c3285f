"""Models of other software, to try adopting with: ``python -m tests.page_data FOLDER``."""

import sys
from pathlib import Path


def foreign(folder):
    """Models of other software."""
    import segmentation_models_pytorch as smp
    import yaml
    from safetensors.torch import save_file

    from tests.training.adopt.test_monai_bundle import bundle
    from tests.training.adopt.test_onnx_file import DESCRIPTION, exported

    (folder / "BUNDLE").mkdir()
    bundle(folder / "BUNDLE")
    network = smp.create_model("unet", "resnet34", encoder_weights=None, classes=2)
    save_file(network.state_dict(), folder / "weights.safetensors")
    exported(folder).rename(folder / "network.onnx")
    (folder / "spec.yaml").write_text(yaml.safe_dump(DESCRIPTION), encoding="utf-8")


if __name__ == "__main__":
    foreign(Path(sys.argv[1]))
