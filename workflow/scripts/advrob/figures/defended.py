"""What a defence does to photographs, and what the model makes of them then."""

import numpy as np
import torch

from advrob.figures.panels import Pairs, Picture
from advrob.images.pixels import to_tensor, to_uint8
from advrob.models.prediction import predict
from advrob.networks import Network


def defended(pairs: Pairs, network: Network, device: torch.device) -> tuple[list[Picture], ...]:
    """Columns of pictures: the originals, alone and behind a defence, and the attacked images.

    Args:
        pairs: the photographs.
        network: the model behind the defence.
        device: where it is.
    """
    images = to_tensor(np.concatenate((pairs.original, pairs.attacked)), device)
    pixels = to_uint8(network.defence(images))
    predictions = predict([network.model], pixels, batch_size=len(images), device=device)
    middle = len(images) // 2
    before, after = (
        pairs.pictures(pixels[half], *(values[0, half] for values in predictions))
        for half in (slice(middle), slice(middle, None))
    )
    originals = pairs.pictures(pairs.original, *pairs.before)
    return originals, before, pairs.pictures(pairs.attacked, *pairs.after), after
