"""Diagrams of whole models: their words are the networks' own numbers."""

import torch

from advrob.figures.layers import Layer
from advrob.figures.models import overview, trace_tasks
from advrob.training import multitask

TRUNK = "tf_efficientnet_lite0"


def test_all_models_are_drawn_with_their_numbers() -> None:
    drawing = overview(
        "mine",
        Layer("", ("Classifier",), (10,), 1234),
        {
            "noise": ({"minimum": -10, "maximum": 10}, (3, 64, 64)),
            "pca": ({"kind": "pca", "components": 5}, (5,)),
        },
        architecture=TRUNK,
        tasks=["rotation"],
        size=64,
    )
    words = [text.get_text() for text in drawing.axes.texts]
    assert words.count("mine") == 2
    assert words.count("1.23 k parameters") == 2
    assert {"unchanged", "trained on both", "minimum -10, maximum 10", "components 5"} <= {*words}
    assert "3×64×64 → 5 → 3×64×64" in words
    # Only a defence that images are made small by says so.
    assert sum("→" in word for word in words) == 1
    assert words[words.index("rotation") + 1] == "4 outputs"
    assert words[words.index("class") + 1] == "1000 outputs"


def test_a_multi_task_network_has_one_head_a_task() -> None:
    with torch.device("meta"):
        network = multitask.build(TRUNK, dict.fromkeys(["coarse", "rotation"])).eval()
        trunk, heads = trace_tasks(network, torch.empty(1, 3, 64, 64))
    assert [head.path for head in heads] == ["class", "heads.coarse", "heads.rotation"]
    assert [head.shape for head in heads] == [(1000,), (83,), (4,)]
    total = sum(weights.numel() for weights in network.parameters())
    assert sum(layer.parameters for layer in (*trunk, *heads)) == total
