"""What each rule's jobs ask for, from the plan and the sizes of the files that they work on.

Every method takes what Snakemake knows of a job, its wildcards and its input, and returns a `Need`.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from . import needs
from .experiments import attacked
from .kinds import kind
from .names import Network
from .needs import THREADS, Need
from .plan import Plan


def megabytes(files: str | Sequence[str]) -> float:
    """The size of one input file, or of several together, in MB."""
    files = [files] if isinstance(files, str) else files
    return sum(Path(file).stat().st_size for file in files) / 1e6


# Images that a check-up looks at.
CHECKED = 64


class Jobs:
    """What jobs ask for.

    Args:
        plan: what is run.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.gpu = plan["device"] != "cpu"
        self.shards = int(plan["shards"])
        self.numbers = 3 * plan["images.size"] ** 2
        self.network = {"batch_size": plan["batch_size"], "gpu": self.gpu}

    def images_in(self, file: str, shards: int = 1) -> float:
        """How many images of a file are a job's, nearly: it holds little else."""
        return megabytes(file) * 1e6 / self.numbers / shards

    @staticmethod
    def threads(need: Callable[[Any, Any], Need]) -> Callable[[Any, Any], int]:
        """The number of threads of a rule whose jobs have a need.

        Unlike memory and time it has to be a number before the job's input exists. Snakemake asks
        again once it does.
        """

        def count(wildcards: Any, input: Any) -> int:
            try:
                return need(wildcards, input).threads
            except FileNotFoundError:
                return THREADS

        return count

    def images(self, wildcards: Any, input: Any) -> Need:
        """Decode photographs."""
        return needs.photographs(self.plan["images"], self.shards)

    def defence(self, wildcards: Any, input: Any) -> Need:
        """Fit a defence."""
        return needs.fitting(
            self.plan.defence_kind(wildcards.defence),
            self.plan["defences"][wildcards.defence],
            images=self.images_in(input.images),
            numbers=self.numbers,
            gpu=self.gpu,
        )

    def universal(self, wildcards: Any, input: Any) -> Need:
        """Make a universal perturbation."""
        return needs.universal(
            self.plan.universal_kind,
            self.plan["perturbations.universal"],
            images=self.images_in(input.images),
            held_out=self.images_in(input.held_out),
            numbers=self.numbers,
            state=megabytes(input.learned),
            **self.network,
        )

    def train(self, wildcards: Any, input: Any) -> Need:
        """Train a model."""
        return needs.training(
            self.plan.lesson_kind(wildcards.model),
            self.plan["models"][wildcards.model]["train"],
            images=self.images_in(input.images),
            gpu=self.gpu,
        )

    def gan(self, wildcards: Any, input: Any) -> Need:
        """Train a generator of perturbations."""
        return needs.training(
            kind("lesson", "gan", "perturbations.gan"),
            self.plan["perturbations.gan"],
            images=self.images_in(input.images),
            state=megabytes(input.learned),
            gpu=self.gpu,
        )

    def gradient(self, wildcards: Any, input: Any) -> Need:
        """Make targeted gradient perturbations."""
        return needs.gradient(
            images=self.images_in(input.images, self.shards),
            iterations=self.plan["perturbations.gradient.iterations"],
            state=megabytes(input.learned),
            **self.network,
        )

    def score(self, wildcards: Any, input: Any) -> Need:
        """Score a network."""
        return needs.scoring(
            images=self.images_in(input.images, self.shards),
            networks=self.plan["experiments.draws"],
            state=megabytes(input.learned),
            **self.network,
        )

    def sweep(self, wildcards: Any, input: Any) -> Need:
        """Score a model behind several magnitudes of noise."""
        return needs.scoring(
            images=self.images_in(input.images, self.shards),
            networks=len(self.plan["experiments.noise_magnitudes"]),
            state=0,
            **self.network,
        )

    def attack(self, wildcards: Any, input: Any) -> Need:
        """Make untargeted attacks."""
        attack = self.plan.attack(wildcards.attack)
        assert attack.kind is not None
        return needs.gradient(
            images=self._robust_images(),
            iterations=attack.kind.effort(attack.entry, default="iterations"),
            state=megabytes(input.learned),
            **self.network,
        )

    def checkup(self, wildcards: Any, input: Any) -> Need:
        """Look a network over, which takes some forward and backward passes."""
        return needs.gradient(
            images=CHECKED, iterations=20, state=megabytes(input.learned), **self.network
        )

    def calibration(self, wildcards: Any, input: Any) -> Need:
        """Attack small networks."""
        return needs.scoring(images=1000, networks=1, state=0, **self.network)

    def controls(self, wildcards: Any, input: Any) -> Need:
        """Score random changes as large as those of the attacks."""
        network = Network(wildcards.model, wildcards.defence)
        return needs.scoring(
            images=self.plan["experiments.robustness.images"],
            networks=2 * len(attacked(self.plan, network)),
            state=megabytes(input.learned),
            **self.network,
        )

    def budget(self, wildcards: Any, input: Any) -> Need:
        """Attack with growing radii and effort."""
        robustness = self.plan["experiments.robustness"]
        return needs.gradient(
            images=self._robust_images(),
            iterations=len(robustness["radii"]) * robustness["iterations"]
            + sum(robustness["efforts"]),
            state=megabytes(input.learned),
            **self.network,
        )

    def _robust_images(self) -> int:
        """Images in a network, each in as many draws as an attack averages over."""
        robustness = self.plan["experiments.robustness"]
        return int(robustness["images"] * robustness["draws"])

    def vector_space(self, wildcards: Any, input: Any) -> Need:
        """Measure image space: a gradient for each of DeepFool's steps and candidate classes."""
        return needs.gradient(
            images=self.plan["experiments.vector_space.normals"],
            iterations=500,
            state=2 * megabytes(input.learned),
            **self.network,
        )

    def certify(self, wildcards: Any, input: Any) -> Need:
        """Certify a network."""
        smoothing = self.plan["experiments.smoothing"]
        draws = smoothing["draws"]
        if attack := smoothing["attack"]:
            # A gradient costs three predictions; the last attack is that on the certificate.
            steps = 3 * (attack["iterations"] + 1) * attack["draws"] + attack["checks"]
            draws += steps * (len(smoothing["radii"]) + 2)
        return needs.scoring(
            images=smoothing["images"] * draws * len(smoothing["sigmas"]),
            networks=1,
            state=megabytes(input.learned),
            **self.network,
        )

    def export(self, wildcards: Any, input: Any) -> Need:
        """Write a data set for other programs."""
        return needs.exporting(megabytes(input.images), images=self.images_in(input.images))

    def drawing(self, wildcards: Any, input: Any) -> Need:
        """Draw a figure that needs networks."""
        return needs.drawing(megabytes(input.learned))
