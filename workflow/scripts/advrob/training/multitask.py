"""One network for several tasks: a shared trunk, and a head for each task.

The paper's sections 2 and 7: features that serve several tasks should be less brittle than those
that serve one. Its main head is the network's own last layer; auxiliary heads share its input.
"""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from advrob.errors import UserError
from advrob.images import labels as classes
from advrob.models import penultimate
from advrob.plan.errors import nearest_names
from advrob.training import Lesson, Pupil, batch_accuracy

# Quarter turns that an image may have been rotated by.
TURNS = 4
# Side in pixels of the picture that the reconstruction head gives.
SIDE = 28
# WordNet's categories of the classes: their hypernyms six levels below its root, or the last ones
# before the class itself where that is nearer.
CATEGORIES = Path(__file__).parent.parent / "images/categories.csv"


class MultiTaskNetwork(nn.Module):
    """A network whose last layer's input several heads share.

    As a network it answers its main task only, so that it is attacked, defended and scored like
    any other; `tasks` gives the answers to all tasks, for training.

    Args:
        network: images ``(N, 3, H, W)`` to the main task's logits.
        heads: for each auxiliary task, a map from the features ``(N, features)`` that the last
            layer of ``network`` takes to its answer.
    """

    def __init__(self, network: nn.Module, heads: nn.ModuleDict) -> None:
        super().__init__()
        self.network = network
        self.heads = heads

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, classes)`` of the main task for images ``(N, 3, H, W)`` in [0, 1]."""
        return self.network(images)

    def tasks(self, images: Tensor) -> dict[str, Tensor]:
        """Answers ``(N, ...)`` to every task, the main one first, from one pass."""
        features, logits = penultimate(self.network, images)
        answers = {task: head(features.float()) for task, head in self.heads.items()}
        return {"class": logits, **answers}


def categories() -> tuple[list[str], Tensor]:
    """WordNet's coarse categories, and the index of each ImageNet-1k class's, int64 ``(1000,)``."""
    with CATEGORIES.open(encoding="utf-8", newline="") as lines:
        category_of = {row["class"]: row["category"] for row in csv.DictReader(lines)}
    names = sorted(set(category_of.values()))
    return names, torch.tensor([names.index(category_of[name]) for name in classes.wordnet_ids()])


def build_heads(tasks: Mapping[str, Any], features: int) -> nn.ModuleDict:
    """Untrained heads.

    Args:
        tasks: their names: ``coarse`` (the category in WordNet's hierarchy), ``rotation`` (by how
            many quarter turns) and ``reconstruction`` (the image itself, made small).
        features: how many they take.

    Raises:
        UserError: there is no such task.
    """
    sizes = {
        "coarse": len(categories()[0]),
        "rotation": TURNS,
        "reconstruction": 3 * SIDE**2,
    }
    for task in tasks:
        if task not in sizes:
            raise UserError(
                f"tasks: '{task}' is not an auxiliary task. Expected some of {', '.join(sizes)}."
            )
    return nn.ModuleDict({task: nn.Linear(features, sizes[task]) for task in tasks})


def build(architecture: str, tasks: Mapping[str, Any]) -> MultiTaskNetwork:
    """An untrained multi-task network on one of timm's architectures.

    Args:
        architecture: its name in timm.
        tasks: of `build_heads`.

    Raises:
        UserError: timm has no such architecture.
    """
    import timm

    if not timm.is_model(architecture):
        nearest = nearest_names(architecture, timm.list_models(), count=3, alike=0.4)
        raise UserError(
            f"architecture: timm has no '{architecture}'. Nearest names: "
            f"{', '.join(nearest) or 'none'}."
        )
    network: Any = timm.create_model(architecture)
    return MultiTaskNetwork(network, build_heads(tasks, network.num_features))


class MultiTask(Lesson):
    """Learn classes and auxiliary tasks together, on original images.

    The loss is the main task's cross-entropy and, each times its weight, those of the coarse
    category (top-down, as the paper has it) and of a random quarter turn (Gidaris, Singh and
    Komodakis 2018), and the mean squared error of the reconstruction. Rotated images are further
    images, so that task doubles the cost; the others are nearly free.

    Args:
        pupil: who is taught.
        tasks: auxiliary tasks and their weights in the loss.

    Raises:
        UserError: there is no such task.
    """

    # An image and its rotated copy.
    passes = 2
    held = 2

    def __init__(
        self,
        pupil: Pupil,
        *,
        tasks: Annotated[
            Mapping[str, float],
            {
                "minProperties": 1,
                "additionalProperties": False,
                "properties": {
                    "coarse": {
                        "type": "number",
                        "exclusiveMinimum": 0,
                        "description": "The category above the class in WordNet's hierarchy.",
                    },
                    "rotation": {
                        "type": "number",
                        "exclusiveMinimum": 0,
                        "description": "By how many quarter turns an image was rotated.",
                    },
                    "reconstruction": {
                        "type": "number",
                        "exclusiveMinimum": 0,
                        "description": "The image itself, 28 x 28 pixels.",
                    },
                },
            },
        ],
    ) -> None:
        super().__init__()
        self.weights = dict(tasks)
        self.measures = ("accuracy while learning", *(f"loss of {task}" for task in tasks))
        self.generator = pupil.generator
        probe = torch.zeros(1, 3, pupil.size, pupil.size, device=pupil.device)
        with torch.no_grad():
            features, _ = penultimate(pupil.model, probe)
        self.heads = build_heads(tasks, features.shape[1])
        for parameters in self.heads.parameters():
            draws = torch.rand(parameters.shape, generator=self.generator)
            parameters.data.copy_((2 * draws - 1) / features.shape[1] ** 0.5)
        self.heads.to(pupil.device)
        self.category = categories()[1].to(pupil.device)

    def loss(
        self, network: nn.Module, images: Tensor, labels: Tensor
    ) -> tuple[Tensor, list[float]]:
        """See `Lesson.loss`."""
        n, inputs = len(images), images
        if "rotation" in self.weights:
            turns = torch.randint(TURNS, (n,), generator=self.generator).to(images.device)
            inputs = torch.cat((images, rotated(images, turns)))
        answers = MultiTaskNetwork(network, self.heads).tasks(inputs)
        losses = {}
        if "coarse" in self.weights:
            losses["coarse"] = F.cross_entropy(answers["coarse"][:n], self.category[labels])
        if "rotation" in self.weights:
            losses["rotation"] = F.cross_entropy(answers["rotation"][n:], turns)
        if "reconstruction" in self.weights:
            small = F.adaptive_avg_pool2d(images, SIDE).flatten(1)
            losses["reconstruction"] = F.mse_loss(answers["reconstruction"][:n].sigmoid(), small)
        logits = answers["class"][:n]
        total = F.cross_entropy(logits, labels)
        for task, weight in self.weights.items():
            total = total + weight * losses[task]
        measured = [float(losses[task].detach()) for task in self.weights]
        return total, [batch_accuracy(logits, labels), *measured]

    def extra_parameters(self) -> list[nn.Parameter]:
        """The heads'."""
        return list(self.heads.parameters())


def rotated(images: Tensor, turns: Tensor) -> Tensor:
    """Square images ``(N, 3, H, H)``, each rotated by so many quarter turns, ``(N,)``."""
    result = torch.empty_like(images)
    for turn in range(TURNS):
        rows = turns == turn
        result[rows] = images[rows].rot90(turn, dims=(2, 3))
    return result
