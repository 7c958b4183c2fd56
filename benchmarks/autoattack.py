"""Compare a network's worst case with AutoAttack as torchattacks packages it, for docs/results.md.

    PYTHONPATH=workflow/scripts python benchmarks/autoattack.py FOLDER \\
        --configuration benchmarks/robustness.yaml --model adversarial_training --radii 2 4

FOLDER is where Snakemake ran with that configuration. Each attack of torchattacks takes 100 steps,
as in the original AutoAttack; version 3.5.1 alone would take 10. Keeps after every batch which
images hold in benchmarks/recorded/autoattack.json, from where a run that ended early resumes;
benchmarks/record.py then writes the page.
"""

import argparse
import json
import os
from pathlib import Path
from typing import Any

import torch
import torchattacks
import yaml
from snakemake.utils import update_config
from torch import Tensor, nn

from advrob import networks
from advrob.files import store
from advrob.findings import robustness
from advrob.images.pixels import to_tensor
from advrob.plan import experiments
from advrob.plan.names import DataSet, Network, dataset_file
from advrob.plan.plan import Plan
from record import RECORDED, provenance

FILE = RECORDED / "autoattack.json"
STEPS, BATCH, SEED = 100, 25, 0


class Known(nn.Module):
    """A network with logits of its known classes alone, since AutoAttack tries every class.

    Args:
        network: images to logits of all classes.
        classes: the known ones, int64 ``(k,)``.
    """

    def __init__(self, network: nn.Module, classes: Tensor) -> None:
        super().__init__()
        self.network, self.classes = network, classes

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``(N, k)``."""
        return self.network(images)[:, self.classes]


def auto_attack(network: nn.Module, classes: int, radius: float) -> torchattacks.AutoAttack:
    """The standard version, with the original's number of steps."""
    attack = torchattacks.AutoAttack(
        network, norm="Linf", eps=radius / 255, version="standard", n_classes=classes, seed=SEED
    )
    for part in attack._autoattack.attacks:
        if hasattr(part, "steps"):
            part.steps = STEPS
    return attack


def holding(network: Known, images: Tensor, labels: Tensor, radius: float) -> list[bool]:
    """Which images AutoAttack leaves right; those that are wrong from the start it is not given."""
    right = network(images).argmax(dim=1) == labels
    rows = right.nonzero()[:, 0]
    if len(rows):
        attack = auto_attack(network, len(network.classes), radius)
        attacked = attack(images[rows], labels[rows])
        right[rows] = network(attacked).argmax(dim=1) == labels[rows]
    return right.tolist()


def compare(plan: Plan, name: str, radii: list[float], images: int) -> dict[str, Any]:
    """Attack a model's images, batch by batch, and keep which hold.

    Args:
        plan: of the run.
        name: the model's.
        radii: of l_inf balls, in units of 1/255.
        images: at most so many.
    """
    target = Network(name)
    built = networks.build(
        plan.describe(target, plan.learned_files(target)), device=torch.device("cpu")
    )
    found: dict[str, Any] = json.loads(FILE.read_text()) if FILE.exists() else {"holds": {}}
    # Not those of universal and targeted perturbations, which are of all test images.
    attack = next(name for name, each in plan.attacks.items() if each.kind)
    with store.read(dataset_file(DataSet(attack, target)), "images/1") as file:
        ids, every = store.strings(file["ids"])[:images], file["labels"][:]
    with store.read(dataset_file(DataSet()), "images/1") as file:
        numbers = {identity: row for row, identity in enumerate(store.strings(file["ids"]))}
        pixels, labels = file["images"], torch.from_numpy(file["labels"][:])
        classes = torch.unique(torch.from_numpy(every))
        network = Known(built.requires_grad_(False), classes).eval()
        for radius in radii:
            holds = found["holds"].setdefault(f"{radius:g}", {})
            left = [identity for identity in ids if identity not in holds]
            for start in range(0, len(left), BATCH):
                names = left[start : start + BATCH]
                rows = [numbers[identity] for identity in names]
                batch = torch.cat([to_tensor(pixels[row : row + 1], "cpu") for row in rows])
                own = torch.searchsorted(classes, labels[rows])
                holds |= zip(names, holding(network, batch.contiguous(), own, radius), strict=True)
                FILE.write_text(json.dumps(found, indent=1) + "\n")
                print(f"radius {radius:g}: {sum(holds.values())} of {len(holds)} hold", flush=True)
    return found


def table(plan: Plan, name: str, found: dict[str, Any]) -> dict[str, Any]:
    """AutoAttack's robust accuracy beside the worst case of the workflow, on the same images."""
    bounds = {
        family: robustness.ThreatModel(attack.norm, attack.radius)
        for family, attack in plan.attacks.items()
    }
    cells = [cell for cell in experiments.robustness(plan) if cell.network == Network(name)]
    described = [
        (cell.dataset.name, cell.network.model, cell.network.defence, cell.role) for cell in cells
    ]
    (evaluation,) = robustness.read_outcomes([cell.path for cell in cells], described)
    lines = []
    for radius, holds in found["holds"].items():
        worst = evaluation.worst_case(robustness.ThreatModel("linf", float(radius)), bounds)
        ours = dict(zip(evaluation.ids, worst.tolist(), strict=True))
        pairs = [(holds[identity], ours[identity]) for identity in holds]
        left = [f"{sum(pair[side] for pair in pairs) / len(pairs):.0%}" for side in (0, 1)]
        alone = [str(sum(pair[side] and not pair[1 - side] for pair in pairs)) for side in (0, 1)]
        lines.append([f"l_inf {radius}", str(len(pairs)), *left, *alone])
    return {
        "title": f"{name}: what AutoAttack leaves, and what the worst case leaves",
        "header": [
            "Within", "Photographs", "AutoAttack", "Worst case",
            "Broken by the worst case alone", "By AutoAttack alone",
        ],
        "lines": lines,
        "remark": "AutoAttack is torchattacks' standard version with 100 steps in each attack, as "
        "in the original. The worst case is that of the table of robustness, on the same "
        "photographs.",
        "parts": [],
        "note": None,
    }  # fmt: skip


# Outside of what they differentiate, torchattacks' attacks would keep every graph.
@torch.no_grad()
def main() -> None:
    """Attack, and record the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="that Snakemake ran in")
    parser.add_argument("--configuration", type=Path, required=True, help="its --configfile")
    parser.add_argument("--model", required=True, help="the name of an undefended model")
    parser.add_argument("--radii", nargs="+", type=float, required=True, help="units of 1/255")
    parser.add_argument("--images", type=int, default=50, help="how many of its sample, at most")
    options = parser.parse_args()
    files = [options.folder / "config.yaml", options.configuration.resolve()]
    # The photographs have been drawn.
    config: dict[str, Any] = {"images_root": "."}
    for file in files:
        read = yaml.safe_load(file.read_text())
        update_config(config, {key: value for key, value in read.items() if key != "images_root"})
    checkout = options.folder.resolve()
    os.chdir(checkout)
    plan = Plan(config)
    found = compare(plan, options.model, options.radii, options.images)
    found |= provenance(checkout) | {"tables": {"auto_attack": table(plan, options.model, found)}}
    FILE.write_text(json.dumps(found, ensure_ascii=False, indent=1) + "\n")


if __name__ == "__main__":
    main()
