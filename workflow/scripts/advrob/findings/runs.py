"""The results of a run, read from the folder that Snakemake ran in.

Every file is checked as the workflow's own jobs check it: its digest, its schema, that it is about
what its name says, and that a score is of the images of its data set.
"""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from advrob.errors import UserError
from advrob.files import provenance, store
from advrob.findings import metrics, robustness
from advrob.findings.robustness import WORST, ThreatModel
from advrob.findings.tables import ABOUT, NONE
from advrob.plan.names import ORIGINAL, PUBLISHED, Cell, DataSet, Knowledge, Network

SCORES = "results/scores"
ROBUSTNESS = "results/tables/table_robustness.csv"
ANSWER = "results/answer.json"
# A sweep over magnitudes of noise lies beside the scores, and is no score.
SWEEP = "sweep-noise"
# What a data set's file says of the network that it was made against.
NETWORK = ("model", "defence", "model_settings", "defence_settings")
# Between names that stand for the same.
SAME = "="


@dataclass(frozen=True)
class ImageResults:
    """Which images are classified correctly, on one data set or in a worst case.

    Attributes:
        ids: of the N images.
        labels: int64 ``(N,)``.
        correct: bool ``(N,)``.
        grade: of a worst case, that of its evidence.
    """

    ids: Sequence[str]
    labels: np.ndarray
    correct: np.ndarray
    grade: str = ""

    @property
    def accuracy(self) -> metrics.Accuracy:
        """The fraction that is correct, with its interval."""
        return metrics.accuracy(self.correct, self.ids)


@dataclass(frozen=True)
class Run:
    """The results of one folder.

    Attributes:
        name: for headings.
        folder: that Snakemake ran in.
        scores: by data set and network.
        worst_cases: by network and threat model; empty without a table of robustness.
        parameters: what the results were made with, named as in the configuration, and versions
            of packages where the run's report has recorded them.
    """

    name: str
    folder: Path
    scores: Mapping[tuple[DataSet, Network], ImageResults]
    worst_cases: Mapping[tuple[Network, ThreatModel], ImageResults]
    parameters: Mapping[str, str]

    @property
    def has_versions(self) -> bool:
        """Whether the versions of packages are known."""
        return any(name.startswith("versions.") for name in self.parameters)


def read_runs(folders: Sequence[str], same: Sequence[Sequence[str]] = ()) -> list[Run]:
    """Read the results of several folders.

    Args:
        folders: that Snakemake ran in, at least two.
        same: names of models or defences that stand for the same, such as ``("mine", "theirs")``.

    Raises:
        UserError: there is one folder, one is named twice or has no results, a name that stands for
            another is nowhere, or a file is not what its name says.
    """
    if len(folders) < 2:
        raise UserError(
            f"compare: found {len(folders)} folder{'s' * (len(folders) != 1)}, expected at least "
            "two. Name the folders that Snakemake ran in, the one to compare with first."
        )
    paths = [Path(folder) for folder in folders]
    resolved = [path.resolve() for path in paths]
    for number, path in enumerate(resolved):
        if path in resolved[:number]:
            raise UserError(f"{folders[number]}: is named twice. Name each folder once.")
    joined = {name: SAME.join(names) for names in same for name in names}
    files = [file for path in paths for file in _score_files(path)]
    existing = {name for file in files for name in (file.parent.name, file.stem)}
    for name in joined.keys() - existing:
        raise UserError(
            f"--same: no folder has a model or a defence '{name}'. Expected one of: "
            f"{', '.join(sorted(existing))}."
        )
    names = [path.name for path in resolved]
    if len(set(names)) < len(names):
        names = [str(path) for path in paths]
    return [read_run(path, name, joined) for path, name in zip(paths, names, strict=True)]


def read_run(folder: Path, name: str, same: Mapping[str, str]) -> Run:
    """Read the results of a folder; see `read_runs`.

    Args:
        folder: that Snakemake ran in.
        name: for headings.
        same: a model's or defence's name -> the one that it is given instead.
    """
    reader = _Reader(folder, same)
    scores = {}
    for path in _score_files(folder):
        cell, results = reader.score(path)
        if cell in scores:
            raise UserError(
                f"{path}: {cell[0].name} through {cell[1]} appears twice: --same makes one of two "
                "names that are both in this folder. Name another pair."
            )
        scores[cell] = results
    worst_cases = reader.worst_cases()
    parameters = {key: ", ".join(sorted(values)) for key, values in reader.parameters.items()}
    return Run(name, folder, scores, worst_cases, parameters | _versions(folder))


def _score_files(folder: Path) -> list[Path]:
    scores = folder / SCORES
    score_files = sorted(
        path
        for path in scores.glob("*/*/*.h5")
        if path.stem != SWEEP and not path.name.startswith(".")
    )
    if score_files:
        return score_files
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder. Expected one that Snakemake ran in.")
    outer = next((outer for outer in folder.resolve().parents if (outer / SCORES).is_dir()), None)
    advice = f"Name the folder {outer}." if outer else f"Make some: snakemake --directory {folder}"
    raise UserError(
        f"{folder}: has no scores in {SCORES}. Expected a folder that Snakemake ran in. {advice}"
    )


class _Reader:
    """Reads the files of a folder, and collects what they were made with.

    Attributes:
        parameters: name -> every value that a file was made with.
    """

    def __init__(self, folder: Path, same: Mapping[str, str]) -> None:
        self.folder = folder
        self.same = same
        self.parameters: dict[str, set[str]] = {}
        self._data_sets: dict[str, tuple[Path, list[str], np.ndarray]] = {}

    def score(self, path: Path) -> tuple[tuple[DataSet, Network], ImageResults]:
        """A score's data set and network, and what is correct."""
        names = (*path.parts[-3:-1], path.stem)
        try:
            dataset = DataSet.parse(names[0])
        except ValueError as error:
            raise UserError(f"{path}: {error} Move it out of {SCORES}.") from error
        with store.read(path, "scores/1", about=dict(zip(ABOUT, names, strict=True))) as file:
            ids, correct = store.strings(file["ids"]), file["correct"][:]
            made, seed = provenance.params(file), file.attrs["seed"].item()
        images, expected, labels = self.data_set(names[0])
        store.check_ids(str(path), ids, str(images), expected)
        self._note("seed", seed)
        model, defence = (self.same.get(name, name) for name in names[1:])
        for part, own in (("model", model), ("defence", defence)):
            if f"{part}_settings" in made:
                self._note(f"{part}s.{own}", made[f"{part}_settings"])
        cell = (self._renamed(dataset), Network(model, defence))
        return cell, ImageResults(ids, labels, correct)

    def data_set(self, name: str) -> tuple[Path, list[str], np.ndarray]:
        """The file of a data set, and its ids and labels."""
        if name not in self._data_sets:
            path = self.folder / "results/datasets" / f"{name}.h5"
            with store.read(path, "images/1") as file:
                self._data_sets[name] = path, store.strings(file["ids"]), file["labels"][:]
                made, source = provenance.params(file), file.attrs["source"]
            dataset = DataSet.parse(name)
            section = _section(dataset, made)
            own = {key: value for key, value in made.items() if key not in NETWORK}
            self._note(section, own.get("attack", own))
            if dataset == DataSet():
                self._note(f"{section}.source", source)
        return self._data_sets[name]

    def worst_cases(self) -> dict[tuple[Network, ThreatModel], ImageResults]:
        """The worst cases of the table of robustness, image by image.

        Raises:
            UserError: the table cannot be read, or is not of these scores.
        """
        path = self.folder / ROBUSTNESS
        if not path.exists():
            return {}
        rows, bounds, cells = _robustness_table(path)
        files = [str(self.folder / cell.path) for cell in cells]
        evaluations = robustness.read_outcomes(
            files, [(cell.dataset.name, *_names(cell.network), "") for cell in cells]
        )
        evaluation_of = {evaluation.network: evaluation for evaluation in evaluations}
        _, ids, labels = self.data_set(ORIGINAL)
        label_of = dict(zip(ids, labels.tolist(), strict=True))
        worst_cases = {}
        for row in (row for row in rows if row["attack"] == WORST):
            network = Network(row["model"], row["defence"])
            threat = ThreatModel(row["norm"], float(row["radius"]))
            evaluation = evaluation_of[network]
            correct = evaluation.worst_case(threat, bounds)
            _check_row(path, row, correct)
            own_labels = np.array([label_of[name] for name in evaluation.ids])
            results = ImageResults(evaluation.ids, own_labels, correct, row["grade"])
            worst_cases[self._network(network), threat] = results
        return worst_cases

    def _network(self, network: Network) -> Network:
        return Network(*(self.same.get(name, name) for name in _names(network)))

    def _renamed(self, dataset: DataSet) -> DataSet:
        target = dataset.target and self._network(dataset.target)
        return DataSet(dataset.family, target, dataset.label, dataset.tuning)

    def _note(self, name: str, value: Any) -> None:
        for leaf, text in _leaves(name, value):
            self.parameters.setdefault(leaf, set()).add(text)


def _names(network: Network) -> tuple[str, str]:
    return network.model, network.defence


def _section(dataset: DataSet, made: Mapping[str, Any]) -> str:
    """The part of the configuration that a data set was made with."""
    if dataset.family == ORIGINAL:
        return "experiments.settings" if dataset.tuning else "images"
    if dataset.family == PUBLISHED:
        return f"perturbations.published.{dataset.label}"
    return f"perturbations.{'untargeted.' * ('attack' in made)}{dataset.family}"


def _leaves(name: str, value: Any) -> Iterator[tuple[str, str]]:
    """The values of a tree by their names, as in YAML paths."""
    if isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from _leaves(f"{name}.{key}", below)
    else:
        yield name, value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _robustness_table(
    path: Path,
) -> tuple[list[dict[str, str]], dict[str, ThreatModel], list[Cell]]:
    """Rows of a table of robustness, what each attack may do, and the scores behind the table."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        bounds = {
            row["attack"]: ThreatModel(row["norm"], float(row["radius"]))
            for row in rows
            if row["attack"] != WORST and row["norm"] != NONE
        }
        if any({"n", "accuracy", "grade"} - row.keys() for row in rows):
            raise KeyError("n, accuracy or grade")
        return rows, bounds, list(_cells(rows))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: cannot be read as a table of robustness ({error}). It is damaged or of an "
            "earlier version. Delete it and make it again: snakemake --cores 1 table_robustness"
        ) from error


def _cells(rows: Iterable[Mapping[str, str]]) -> Iterator[Cell]:
    for row in rows:
        if row["attack"] == WORST:
            continue
        network = Network(row["model"], row["defence"])
        targets = {
            Knowledge.NONE: None,
            Knowledge.MATCHED: network.undefended,
            Knowledge.ADAPTIVE: network,
        }
        yield Cell(DataSet(row["attack"], targets[Knowledge(row["knowledge"])]), network)


def _check_row(path: Path, row: Mapping[str, str], correct: np.ndarray) -> None:
    """Refuse a row of worst cases that the scores do not have."""
    # The table has six decimals.
    if int(row["n"]) != len(correct) or abs(float(row["accuracy"]) - correct.mean()) > 1e-6:
        raise UserError(
            f"{path}: says {row['accuracy']} of {row['n']} images in the worst case of "
            f"{row['model']}/{row['defence']}, but the scores beside it say {correct.mean():.6f} "
            f"of {len(correct)}. It is of earlier scores. Make it again: snakemake --cores 1 "
            "table_robustness"
        )


def _versions(folder: Path) -> dict[str, str]:
    """The versions of packages that a run's report has recorded."""
    path = folder / ANSWER
    if not path.exists():
        return {}
    try:
        versions = json.loads(path.read_text(encoding="utf-8")).get("versions", {})
        return {f"versions.{package}": str(version) for package, version in versions.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"{path}: cannot be read as a run's answer ({error}). Delete it and make it again: "
            "snakemake --cores 1 report"
        ) from error
