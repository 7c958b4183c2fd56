"""Compare attacks with torchattacks', foolbox's and ART's, and scoring with the bare network.

    PYTHONPATH=workflow/scripts python benchmarks/attacks.py FOLDER

FOLDER holds photographs, at any depth. Each contestant runs in a process of its own, on the same
network and images, the two of a pair in turn. A contestant whose package is missing is left out.
"""

import argparse
import importlib.metadata
import importlib.util
import os
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from advrob import attacks, defences, models, networks
from advrob.attacks.deepfool import deepfool
from advrob.attacks.gradient import random_targets, targeted
from advrob.attacks.universal.deepfool import SummedDeepFool
from advrob.attacks.universal.search import UniversalMethod, fooling_rate, search
from advrob.attacks.universal.stochastic_gradient import StochasticGradient
from advrob.images.pixels import quantise, to_tensor
from advrob.job import compute
from advrob.job.compute import generator
from advrob.models.prediction import predict
from machine import describe

RADIUS = 10
# Of untargeted attacks: one that leaves some images right, in units of 1/255.
SMALL = 0.5
STEPS, QUERIES = 100, 500
OUR_BOUND = {"norm": "linf", "radius": SMALL, "levels": None}


@dataclass(frozen=True)
class Task:
    """What all contestants are given."""

    folder: Path
    weights: Path | None
    batch: int
    iterations: int
    fit: int
    test: int
    device_name: str

    @property
    def device(self) -> torch.device:
        """Where all compute."""
        return compute.device(self.device_name)

    def network(self, mixed: bool = True) -> nn.Module:
        """GoogLeNet if there are weights for it, else EfficientNet-Lite0."""
        if self.weights:
            model = models.build("googlenet", {"weights": self.weights}, self.device)
        else:
            model = models.build("efficientnet_lite0", {}, self.device)
        return (
            networks.Network(defences.build("none", {}, device=self.device), model, mixed=mixed)
            .eval()
            .requires_grad_(False)
        )

    def images(self) -> tuple[np.ndarray, np.ndarray]:
        """Images to make perturbations from and images to test them on, uint8."""
        names = sorted(path for path in self.folder.rglob("*") if path.suffix.lower() == ".jpeg")
        count = self.fit + self.test
        selected = names[:: max(1, len(names) // count)][:count]
        decoded = np.stack(
            [np.asarray(Image.open(name).convert("RGB").resize((224, 224))) for name in selected]
        )
        order = np.random.default_rng(0).permutation(len(decoded))
        return decoded[order[: self.fit]], decoded[order[self.fit :]]

    def tensors(self) -> Tensor:
        """One batch."""
        return to_tensor(self.images()[0][: self.batch], self.device)


# A contestant's time is from its call of `start()` to its end. What it gives then says in a
# sentence what it found.
Contestant = Callable[[Task, Callable[[], None]], Callable[[], str]]


def our_targeted(task: Task, start: Callable[[], None]) -> Callable[[], str]:
    """Ours, every iteration; with the same targets, step and radius as `their_targeted`."""
    network, images, targets = _with_targets(task)
    start()
    attacked = targeted(network, images, targets, radius=RADIUS, iterations=task.iterations)
    return partial(_hits, network, attacked, targets)


def our_confident_targeted(task: Task, start: Callable[[], None]) -> Callable[[], str]:
    """Ours, as the presets configure it: each image until its target has 99 %."""
    network, images, targets = _with_targets(task)
    start()
    attacked = targeted(
        network, images, targets, radius=RADIUS, iterations=task.iterations, confidence=0.99
    )
    return partial(_hits, network, attacked, targets)


def their_targeted(task: Task, start: Callable[[], None]) -> Callable[[], str]:
    """Projected gradient descent of torchattacks without a random start."""
    import torchattacks

    network, images, targets = _with_targets(task)
    attack = torchattacks.PGD(network, RADIUS / 255, 1 / 255, task.iterations, random_start=False)
    attack.set_mode_targeted_by_label(quiet=True)
    start()
    attacked = attack(images, targets)
    return partial(_hits, network, quantise(attacked), targets)


def our_deepfool(task: Task, start: Callable[[], None]) -> Callable[[], str]:
    """Ours; with the candidates and overshoot of `their_deepfool`."""
    network, images = task.network(), task.tensors()
    start()
    return partial(_length, deepfool(network, images, steps=10))


def their_deepfool(task: Task, start: Callable[[], None]) -> Callable[[], str]:
    """DeepFool of foolbox."""
    import foolbox

    network, images = task.network(), task.tensors()
    own = network(images).argmax(dim=1)
    attack = foolbox.attacks.L2DeepFoolAttack(steps=10, candidates=10, overshoot=0.02)
    start()
    _, moved, _ = attack(foolbox.PyTorchModel(network, (-1, 2)), images, own, epsilons=None)
    return partial(_length, moved - images)


def our_apgd(task: Task, start: Callable[[], None]) -> Callable[[], str]:
    """Ours, on real-valued images as the peer's, within a radius that leaves some right."""
    attack = attacks.build("apgd", OUR_BOUND | {"loss": "cross_entropy", "iterations": STEPS})
    return _attacked(task, start, partial(attack, generator=generator(0, "benchmark")))


def their_apgd(task: Task, start: Callable[[], None]) -> Callable[[], str]:
    """Auto-PGD of torchattacks, with as many steps."""
    return _attacked(task, start, _theirs("APGD", steps=STEPS, loss="ce"))


def our_square(task: Task, start: Callable[[], None]) -> Callable[[], str]:
    """Ours, with the peer's number of queries."""
    attack = attacks.build("square", OUR_BOUND | {"queries": QUERIES})
    return _attacked(task, start, partial(attack, generator=generator(0, "benchmark")))


def their_square(task: Task, start: Callable[[], None]) -> Callable[[], str]:
    """Square of torchattacks."""
    return _attacked(task, start, _theirs("Square", n_queries=QUERIES))


def our_jpeg(task: Task, start: Callable[[], None]) -> Callable[[], str]:
    """Ours, whose gradients are straight-through."""
    defence, images = defences.build("jpeg", {"quality": 75}, device=task.device), task.tensors()
    start()
    with torch.no_grad():
        return partial(_distance, defence(images), images)


def their_jpeg(task: Task, start: Callable[[], None]) -> Callable[[], str]:
    """libjpeg as torchvision calls it, which has no gradients."""
    from torchvision.io import decode_jpeg, encode_jpeg

    images = task.tensors()
    start()
    pixels = (255 * images).round().byte().cpu()
    decoded = decode_jpeg([encode_jpeg(each, quality=75) for each in pixels])
    return partial(_distance, torch.stack(decoded) / 255, images.cpu())


def our_universal(task: Task, start: Callable[[], None]) -> Callable[[], str]:
    """Ours, one pass of the DeepFool version."""
    return _search(task, start, SummedDeepFool(), passes=1)


def our_universal_gradient(task: Task, start: Callable[[], None]) -> Callable[[], str]:
    """Ours, the gradient version in three passes, as the presets configure it."""
    return _search(task, start, StochasticGradient(), passes=3, fooling_rate=1.0)


def our_hasty_universal_gradient(task: Task, start: Callable[[], None]) -> Callable[[], str]:
    """Ours, the gradient version, one pass like the peer's."""
    return _search(task, start, StochasticGradient(), passes=1, fooling_rate=1.0)


def their_universal(task: Task, start: Callable[[], None]) -> Callable[[], str]:
    """One pass of the Adversarial Robustness Toolbox, DeepFool inside with ten steps."""
    from art.attacks.evasion import UniversalPerturbation
    from art.estimators.classification import PyTorchClassifier

    network, (fit, test) = task.network(), task.images()
    classifier = PyTorchClassifier(
        network,
        nn.CrossEntropyLoss(),
        (3, 224, 224),
        1000,
        clip_values=(0, 1),
        device_type="gpu" if task.device.type == "cuda" else "cpu",
    )
    attack = UniversalPerturbation(
        classifier,
        attacker="deepfool",
        attacker_params={"max_iter": 10, "nb_grads": 10, "epsilon": 0.02, "verbose": False},
        max_iter=1,
        eps=RADIUS / 255,
        verbose=False,
    )
    start()
    attack.generate(to_tensor(fit).numpy())
    return partial(_fools, task, network, 255 * attack.noise[0].transpose(1, 2, 0), test)


def our_scoring(task: Task, start: Callable[[], None]) -> Callable[[], str]:
    """Ours: from 8-bit images to predictions and confidences, in float32."""
    network, (_, test) = task.network(mixed=False), task.images()
    start()
    predicted, _ = predict([network], test, batch_size=task.batch, device=task.device)
    return lambda: f"{len(np.unique(predicted))} classes among {len(test)} images"


def bare_network(task: Task, start: Callable[[], None]) -> Callable[[], str]:
    """The network alone, on float batches that are there already."""
    network, (_, test) = task.network(mixed=False), task.images()
    batches = to_tensor(test, task.device).split(task.batch)
    with torch.inference_mode():
        start()
        predictions = [network(batch).argmax(dim=1) for batch in batches]
    return lambda: f"{len(torch.cat(predictions).unique())} classes among {len(test)} images"


PAIRS: dict[str, tuple[tuple[Contestant, ...], Contestant, str]] = {
    "targeted gradient attack": (
        (our_targeted, our_confident_targeted),
        their_targeted,
        "torchattacks",
    ),
    "DeepFool": ((our_deepfool,), their_deepfool, "foolbox"),
    "Auto-PGD": ((our_apgd,), their_apgd, "torchattacks"),
    "Square": ((our_square,), their_square, "torchattacks"),
    "JPEG": ((our_jpeg,), their_jpeg, "torchvision"),
    "universal perturbation": (
        (our_universal, our_universal_gradient, our_hasty_universal_gradient),
        their_universal,
        "adversarial-robustness-toolbox",
    ),
    "scoring": ((our_scoring,), bare_network, "torch"),
}


def _search(
    task: Task, start: Callable[[], None], method: UniversalMethod, **options: Any
) -> Callable[[], str]:
    network, (fit, test) = task.network(), task.images()
    start()
    result = search(
        method,
        network,
        fit,
        fit[:1],  # others are scored when the clock has stopped, as the peer's are
        device=task.device,
        generator=generator(0, "benchmark"),
        norm="linf",
        radius=RADIUS,
        batch_size=method.largest_batch or 32,
        **options,
    )
    return partial(_fools, task, network, result.perturbation, test)


class _Counted(nn.Module):
    """A network that counts the images that pass it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.passed = network, 0

    def forward(self, images: Tensor) -> Tensor:
        self.passed += len(images)
        logits: Tensor = self.network(images)
        return logits


def _theirs(name: str, **options: Any) -> Callable[[nn.Module, Tensor, Tensor], Tensor]:
    """An attack of torchattacks; outside of what it differentiates it would keep every graph."""
    import torchattacks

    def run(network: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        attack = getattr(torchattacks, name)(network, norm="Linf", eps=SMALL / 255, **options)
        with torch.no_grad():
            attacked: Tensor = attack(images.contiguous(), labels)
        return attacked

    return run


def _attacked(
    task: Task, start: Callable[[], None], attack: Callable[[nn.Module, Tensor, Tensor], Tensor]
) -> Callable[[], str]:
    """Attack what the network says of one batch."""
    network, images = _Counted(task.network()), task.tensors()
    with torch.no_grad():
        own = network(images).argmax(dim=1)
    network.passed = 0
    start()
    attacked = attack(network, images, own)
    passed = network.passed

    def left() -> str:
        with torch.no_grad():
            rate = (network(attacked).argmax(dim=1) == own).float().mean()
        return f"leaves {rate:.3f} within {SMALL}/255, {passed / len(images):.0f} passes an image"

    return left


def _distance(decoded: Tensor, images: Tensor) -> str:
    return f"mean change {255 * (decoded - images).abs().mean():.3f} of 255"


def _with_targets(task: Task) -> tuple[nn.Module, Tensor, Tensor]:
    network, images = task.network(), task.tensors()
    with torch.no_grad():
        own = network(images).argmax(dim=1)
    targets = random_targets(own.cpu(), 1000, generator(0, "targets"))
    return network, images, targets.to(task.device)


def _hits(network: nn.Module, attacked: Tensor, targets: Tensor) -> str:
    with torch.no_grad():
        rate = (network(attacked).argmax(dim=1) == targets).float().mean()
    return f"{rate:.3f} reach their target"


def _fools(task: Task, network: nn.Module, perturbation: np.ndarray, images: np.ndarray) -> str:
    size, device = task.batch, task.device
    (own,), _ = predict([network], images, batch_size=size, device=device)
    rate = fooling_rate(network, images, perturbation, own, batch_size=size, device=device)
    return f"fools {rate:.3f} of {len(images)} other images"


def _length(perturbations: Tensor) -> str:
    return f"mean l_2 length {perturbations.flatten(1).norm(dim=1).mean():.4f}"


def _measure(contestant: Contestant, task: Task, threads: int) -> tuple[float, float, str]:
    """Seconds, peak memory in MiB and what the contestant says; called in a fresh process."""
    torch.set_num_threads(threads)
    started = [0.0]

    def now() -> float:
        if task.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def start() -> None:
        started[0] = now()

    report = contestant(task, start)
    seconds = now() - started[0]
    return seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, report()


def main() -> None:
    """Run every pair whose package is installed and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="photographs (.jpeg), at any depth")
    parser.add_argument("--weights", type=Path, help="GoogLeNet's; default: EfficientNet-Lite0")
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=list(PAIRS))
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--iterations", type=int, default=100)
    parser.add_argument("--fit", type=int, default=100)
    parser.add_argument("--test", type=int, default=100)
    parser.add_argument(
        "--device", dest="device_name", default="cpu", help="cpu (the default), cuda or auto"
    )
    parser.add_argument("--repeats", type=int, default=3)
    arguments = vars(parser.parse_args())
    pairs, repeats = arguments.pop("pairs"), arguments.pop("repeats")
    task, threads = Task(**arguments), len(os.sched_getaffinity(0))

    print(describe("torch", "timm"))
    if task.device.type == "cuda":
        print(f"on {torch.cuda.get_device_name()}; memory is the machine's, not the GPU's")
    for pair in pairs:
        ours, theirs, package = PAIRS[pair]
        modules = {"adversarial-robustness-toolbox": "art"}
        if importlib.util.find_spec(modules.get(package, package)) is None:
            print(f"\n{pair}: {package} is not installed, nothing to compare with")
            continue
        print(f"\n{pair} (peer: {package} {importlib.metadata.version(package)})")
        contestants = [*ours, theirs]
        seconds: dict[str, list[float]] = {function.__name__: [] for function in contestants}
        for repeat in range(repeats):
            for function in contestants:
                with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
                    took, peak, report = fresh.submit(_measure, function, task, threads).result()
                seconds[function.__name__].append(took)
                print(f"  {repeat} {function.__name__}: {took:.2f} s, {peak:.0f} MiB, {report}")
        median = {name: statistics.median(values) for name, values in seconds.items()}
        for function in ours:
            ratio = median[theirs.__name__] / median[function.__name__]
            print(f"  {function.__name__}: {ratio:.2f} times as fast as {theirs.__name__}")


if __name__ == "__main__":
    main()
