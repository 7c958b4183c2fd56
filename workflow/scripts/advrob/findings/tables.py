"""From per-image scores to the paper's three tables and to comparisons, and how tables are written.

A score file is one cell: a network (a model behind a defence) on a data set.

A table is written as CSV, as Markdown and as JSON. What readers see of it (titles, cells, remarks)
may be marked up as in Markdown: ``**strong**``, ``*emphasis*`` and `` `code` ``, nothing else. The
JSON has the same texts; `advrob.report.markup` makes HTML of them.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from advrob.errors import UserError
from advrob.files import identities, provenance, store
from advrob.files.atomic import replacing
from advrob.findings import certified, metrics, paper
from advrob.findings.metrics import Accuracy
from advrob.plan.names import (
    GRADIENT,
    PUBLISHED,
    TUNING,
    UNDEFENDED,
    UNIVERSAL,
    DataSet,
    Knowledge,
    Network,
)

Value = str | int | float
# What a Markdown table shows where the paper has no such number.
NONE = "–"
# What a score file is about.
ABOUT = ("dataset", "model", "defence")
# Below tables of accuracies.
INTERVALS = (
    "Intervals are 95 % Wilson score intervals that count photographs, not crops. "
    f"Paper: {paper.CITATION}, {paper.IMAGES:,} images."
)


@dataclass(frozen=True)
class Result:
    """What one network got right on one data set.

    Attributes:
        dataset: the data set's name.
        model: the model's name.
        defence: the defence's name.
        ids: of the images, in the data set's order.
        correct: bool ``(N,)``, by image.
        role: its role in a table, if that does not follow from its names.
        predicted: int64 ``(N,)``, the class that the network answered; None where nobody asks.
    """

    dataset: str
    model: str
    defence: str
    ids: Sequence[str]
    correct: np.ndarray
    role: str = ""
    predicted: np.ndarray | None = None

    @cached_property
    def accuracy(self) -> Accuracy:
        """The accuracy, with its interval."""
        return metrics.accuracy(self.correct, self.ids)

    @property
    def knowledge(self) -> Knowledge:
        """What the attacker knew of the network."""
        return DataSet.parse(self.dataset).knowledge_of(Network(self.model, self.defence))


@dataclass(frozen=True)
class Table:
    """A table in all its forms.

    Attributes:
        columns: the CSV's header.
        rows: the CSV's rows; accuracies are fractions.
        title: the heading.
        header: the header for readers; empty if only the ``parts`` have one.
        lines: the rows for readers: percentages, and the paper's value beside ours.
        remark: a note on its numbers, printed below the lines.
        accuracies: those whose numbers of images the remark reports; empty for other tables.
        answer: what it shows, in one sentence.
        parts: tables that readers see below it; their rows are not written.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[Value]]
    title: str
    header: Sequence[str]
    lines: Sequence[Sequence[str]]
    remark: str = INTERVALS
    accuracies: Sequence[Accuracy] = ()
    answer: str = ""
    parts: Sequence["Table"] = ()


def read_results(
    scores: Iterable[str],
    cells: Iterable[tuple[str, str, str, str]] | None = None,
    pattern: str | None = None,
) -> list[Result]:
    """Read score files, of the images whose file name matches ``pattern``.

    Args:
        scores: the files.
        cells: the expected data set, model, defence and role of each; None to accept what the files
            say.
        pattern: a pattern of file names; other images do not count.

    Raises:
        UserError: a file belongs to another cell, or no image matches.
    """
    paths = list(scores)
    results = []
    for path, cell in zip(paths, _expected(cells, len(paths)), strict=True):
        about = dict(zip(ABOUT, cell, strict=False)) if cell else None
        with store.read(path, "scores/1", about=about) as file:
            ids, correct = store.strings(file["ids"]), file["correct"][:]
            predicted, params = file["predicted"][:], provenance.params(file)
        selected, counted = matching(path, ids, pattern)
        dataset, model, defence = (params[key] for key in ABOUT)
        role = cell[3] if cell else ""
        outcome = (correct[selected], role, predicted[selected])
        results.append(Result(dataset, model, defence, counted, *outcome))
    return results


def _expected(
    cells: Iterable[tuple[str, str, str, str]] | None, count: int
) -> list[tuple[str, str, str, str] | None]:
    return [None] * count if cells is None else [*cells]


def paired(
    first: Result, second: Result, confidence: float = metrics.CONFIDENCE
) -> metrics.Comparison:
    """Compare two results image by image.

    Raises:
        UserError: their images differ.
    """
    check_same_images(first, second)
    return metrics.compare(first.correct, second.correct, first.ids, confidence)


def check_same_images(first: Result, second: Result) -> None:
    """Refuse results of different images.

    Raises:
        UserError: they are.
    """
    if first.ids != second.ids:
        raise UserError(
            f"{first.model}/{first.defence} on {first.dataset} and "
            f"{second.model}/{second.defence} on {second.dataset} are scores "
            f"of different images; {store.difference(first.ids, second.ids)}. Expected the same; "
            "delete the older ones."
        )


def matching(path: str, ids: Sequence[str], pattern: str | None) -> tuple[np.ndarray, list[str]]:
    """Which images of a file count, bool ``(N,)``, and their ids.

    Raises:
        UserError: none does.
    """
    selected = identities.select(ids, pattern)
    if not selected.any():
        raise UserError(
            f"{path}: none of its {len(ids)} images has a file name that matches '{pattern}' (the "
            f"first is '{next(iter(ids), '')}'). Change the pattern, or leave it out to count "
            "every image."
        )
    return selected, [
        identity for identity, is_selected in zip(ids, selected, strict=True) if is_selected
    ]


def table_1(results: Sequence[Result]) -> Table:
    """Accuracy of every network on every data set (the paper's Table 1)."""
    rows, lines = [], []
    for result in results:
        name, ours = (result.dataset, result.model, result.defence), result.accuracy
        rows.append((*name, ours.n, ours.correct, *_interval(ours)))
        # The paper's perturbations are universal and made without the defence.
        kind = DataSet.parse(result.dataset).family.replace(PUBLISHED, UNIVERSAL)
        knew_defence = result.knowledge == Knowledge.ADAPTIVE and result.defence != UNDEFENDED
        theirs = None if knew_defence else paper.TABLE_1.get((kind, result.defence))
        labels = (result.dataset, result.knowledge, result.model, result.defence, str(ours.n))
        lines.append((*labels, *_ours(ours, theirs)))
    return Table(
        columns=("dataset", "model", "defence", "n", "correct", "accuracy", "ci_low", "ci_high"),
        rows=rows,
        title="Table 1: accuracy on original and universally perturbed images",
        header=(
            *("Data set", "Attack", "Model", "Defence", "n"),
            *("Accuracy, %", "95 % interval", "Paper, %"),
        ),
        lines=lines,
        accuracies=[result.accuracy for result in results],
    )


def table_2(results: Sequence[Result], pairs: Sequence[Sequence[str]]) -> Table:
    """Cross-testing of networks A and B under gradient attacks (the paper's Table 2).

    A is scored on the images made against B, and B on those made against A: a network is almost
    always wrong on the images made against itself.

    Args:
        results: the scores, of one or more models.
        pairs: defences ``(A, B)``.

    Raises:
        UserError: a pair lacks one of its two scores.
    """
    accuracies = _by_cell(results)
    rows, lines = [], []
    for model in dict.fromkeys(result.model for result in results):
        for a, b in pairs:
            first, second = (_find(accuracies, *cell) for cell in _crossed(model, a, b))
            if first.n != second.n:
                raise UserError(
                    f"table 2: {model}/{a} was scored on {first.n} images and {model}/{b} on "
                    f"{second.n}. Expected the same test images; delete the older scores."
                )
            rows.append((model, a, b, first.n, *_interval(first), *_interval(second)))
            theirs = paper.TABLE_2.get((a, b), (None, None))
            lines.append(
                (model, a, b, str(first.n), *_ours(first, theirs[0]), *_ours(second, theirs[1]))
            )
    return Table(
        columns=(
            *("model", "network_a", "network_b", "n"),
            *("accuracy_a", "ci_low_a", "ci_high_a", "accuracy_b", "ci_low_b", "ci_high_b"),
        ),
        rows=rows,
        title="Table 2: networks A and B on gradient perturbations made against each other "
        "(`gradient-{model}-B` and `gradient-{model}-A`)",
        header=(
            *("Model", "Network A", "Network B", "n"),
            *("A on images against B, %", "95 % interval", "Paper, %"),
            *("B on images against A, %", "95 % interval", "Paper, %"),
        ),
        lines=lines,
        accuracies=[result.accuracy for result in results],
    )


def _crossed(model: str, a: str, b: str) -> Iterator[tuple[str, str, str]]:
    """Data set, model and defence of both halves of a cross-test: A on images made against B."""
    for defence, against in ((a, b), (b, a)):
        yield DataSet(GRADIENT, Network(model, against)).name, model, defence


def table_3(results: Sequence[Result], ratios: Mapping[str, float]) -> Table:
    """Downsampling by several ratios (the paper's Table 3).

    Args:
        results: each network's score on the original images and on one attacked data set.
        ratios: defence -> the fraction of the width and height that it keeps.

    Raises:
        UserError: a network lacks one of its two scores.
    """
    accuracies = _by_cell(results)
    rows, lines = [], []
    for model in dict.fromkeys(result.model for result in results):
        for defence, ratio in ratios.items():
            attacked = [
                dataset
                for dataset, *network in accuracies
                if dataset != "original" and network == [model, defence]
            ]
            if len(attacked) != 1:
                raise UserError(
                    f"table 3: {model}/{defence} has scores on {len(attacked)} attacked data sets "
                    f"({', '.join(attacked) or 'none'}). Expected exactly one."
                )
            original = _find(accuracies, "original", model, defence)
            universal = _find(accuracies, attacked[0], model, defence)
            rows.append((model, ratio, original.n, *_interval(original), *_interval(universal)))
            theirs = paper.TABLE_3.get(ratio, (None, None))
            lines.append(
                (
                    *(model, f"{100 * ratio:g} %", str(original.n), *_ours(original, theirs[0])),
                    *(attacked[0], _knowledge(attacked[0], model, defence)),
                    *_ours(universal, theirs[1]),
                )
            )
    return Table(
        columns=(
            *("model", "ratio", "n", "accuracy_original", "ci_low_original", "ci_high_original"),
            *("accuracy_universal", "ci_low_universal", "ci_high_universal"),
        ),
        rows=rows,
        title="Table 3: downsampling",
        header=(
            *("Model", "Size kept", "n", "Original images, %", "95 % interval", "Paper, %"),
            *("Attacked data set", "Attack", "Attacked images, %", "95 % interval", "Paper, %"),
        ),
        lines=lines,
        accuracies=[result.accuracy for result in results],
    )


def compared(
    results: Iterable[Result], pairs: Sequence[Sequence[str]]
) -> list[tuple[Result, Result]]:
    """Which results are compared with which.

    On each data set every defence with none, and the two of each pair; and the two of a pair on
    the gradient images made against each other, as in the paper's Table 2.

    Args:
        results: on each data set and model there is one of the defence ``none``.
        pairs: defences ``(A, B)``.

    Raises:
        UserError: there is nothing to compare with.
    """
    by_cell = {(r.dataset, r.model, r.defence): r for r in results}
    pairings = []
    for (dataset, model, defence), result in by_cell.items():
        others = ["none"] if defence != "none" else []
        others += [b for a, b in pairs if a == defence and "none" not in (a, b)]
        for other in others:
            control = by_cell.get((dataset, model, other))
            if control is not None:
                pairings.append((result, control))
            elif other == "none":
                raise _lacking(dataset, model, other)
    for model in dict.fromkeys(model for _, model, _ in by_cell):
        for a, b in pairs:
            first, second = (by_cell.get(cell) for cell in _crossed(model, a, b))
            if first and second:
                pairings.append((first, second))
    return pairings


def comparisons(results: Sequence[Result], pairs: Sequence[Sequence[str]]) -> Table:
    """Differences between networks, tested photograph by photograph; see `compared`."""
    compared_pairs = [(*pair, paired(*pair)) for pair in compared(results, pairs)]
    corrected = metrics.holm([result.p for *_, result in compared_pairs])
    rows, lines = [], []
    for (first, second, result), p_holm in zip(compared_pairs, corrected, strict=True):
        rows.append(
            (
                *(first.model, first.dataset, first.defence, second.dataset, second.defence),
                *(result.n, result.photographs, result.difference, result.low, result.high),
                *(
                    result.wins,
                    result.losses,
                    f"{result.p:.6g}",
                    f"{p_holm:.6g}",
                    len(compared_pairs),
                ),
            )
        )
        other = second.defence
        if second.dataset != first.dataset:
            other += f" on {second.dataset}"
        lines.append(
            (
                *(first.dataset, first.knowledge),
                *(first.model, first.defence, other, f"{100 * result.difference:+.2f}"),
                f"{100 * result.low:+.1f} to {100 * result.high:+.1f}",
                *(str(result.wins), str(result.losses), f"{result.p:.2g}", f"{p_holm:.2g}"),
            )
        )
    return Table(
        columns=(
            *("model", "dataset", "defence", "other_dataset", "other_defence"),
            *("n", "photographs", "difference", "ci_low", "ci_high"),
            *("wins", "losses", "p", "p_holm", "comparisons"),
        ),
        rows=rows,
        title="Comparisons of networks on the same photographs",
        header=(
            *("Data set", "Attack", "Model", "Defence", "Against"),
            *("Difference, points", "95 % interval", "Only it is right", "Only the other is right"),
            *("p", "p, corrected"),
        ),
        lines=lines,
        remark="Intervals are Tango's score intervals for paired proportions, p-values those of "
        "exact two-sided McNemar tests; both count photographs, not crops. The last column is "
        f"corrected for the {len(compared_pairs)} comparisons of this table after Holm.",
        accuracies=[result.accuracy for result in results],
    )


def table_certified(files: Iterable[str], radii: Sequence[float]) -> Table:
    """Certified accuracy: right, and certified at least up to a radius (Cohen et al. 2019).

    Args:
        files: files of certificates.
        radii: l_2 distances in units of 1/255.
    """
    rows: list[tuple[Value, ...]] = []
    lines: list[tuple[str, ...]] = []
    accuracies, checked, broken = [], 0, 0
    for path in files:
        with store.read(path, "certified/1") as file:
            ids, params = store.strings(file["ids"]), provenance.params(file)
            arrays = {name: file[name][:] for name in file if name != "ids"}
        names = (params["dataset"], params["model"])
        defence = params.get("defence", UNDEFENDED)
        if "broken" in arrays:
            checked += int((arrays["predicted"] >= 0).sum())
            broken += int(arrays["broken"].sum())
        certificates = list(certified.rows(arrays, ids, radii))
        for row in certificates:
            attacked = _interval(row.attacked) if row.attacked else ("",) * 3
            numbers = (row.sigma, row.radius, row.certified.n, *_interval(row.certified))
            rows.append((*names, *numbers, defence, *attacked))
        for number, sigma in enumerate(arrays["sigmas"].tolist()):
            of_sigma = [row for row in certificates if row.sigma == sigma]
            abstained = f"{100 * (arrays['predicted'][number] < 0).mean():.2f}"
            cells = (abstained, str(params["draws"]))
            lines.append((*names, defence, f"{sigma:g}", *map(_certain, of_sigma), *cells))
            accuracies.append(of_sigma[0].certified)
    return Table(
        columns=(
            *("dataset", "model", "sigma", "radius", "n"),
            *("accuracy", "ci_low", "ci_high", "defence"),
            *("accuracy_attacked", "ci_low_attacked", "ci_high_attacked"),
        ),
        rows=rows,
        title="Certified accuracy under Gaussian noise",
        header=(
            *("Data set", "Model", "Defence", "Sigma"),
            *(f"at radius {radius:g}, %" for radius in radii),
            *("Abstained, %", "Draws"),
        ),
        lines=lines,
        remark="An image counts at a radius if its class is right and, with 99.9 % confidence, the "
        "same everywhere within that l_2 distance. Sigma and radii are in units of 1/255."
        + _attempts(checked, broken),
        accuracies=accuracies,
    )


def _certain(row: certified.Row) -> str:
    """Certified accuracy, and after a stroke what an attack within the radius leaves."""
    share = f"{100 * row.certified.accuracy:.2f}"
    return f"{share} / {100 * row.attacked.accuracy:.2f}" if row.attacked else share


def _attempts(checked: int, broken: int) -> str:
    if not checked:
        return ""
    verdict = "as it must be" if not broken else "**which is an error of this program: report it**"
    return (
        " After the stroke, the share of images that the smoothed network still gets right under "
        "an attack within the radius. Attacks within the certificates' own radii contradicted "
        f"{broken} of {checked} certificates, {verdict}."
    )


def table_settings(results: Sequence[Result], candidates: Mapping[str, Sequence[str]]) -> Table:
    """Which setting of a defence does best on images that are not tested.

    The best is the one with the highest mean of the accuracies on original and attacked images; of
    equal ones the first. How many were tried belongs to the choice: the best of many is partly
    luck.

    Args:
        results: each candidate's score on the images ``tuning`` and on these under one attack.
        candidates: family -> names of configured defences.

    Raises:
        UserError: a candidate lacks one of its two scores.
    """
    accuracies = _by_cell(results)
    attacked = {result.model: result.dataset for result in results if result.dataset != TUNING}
    rows: list[tuple[Value, ...]] = []
    lines: list[tuple[str, ...]] = []
    for model, family in product(dict.fromkeys(result.model for result in results), candidates):
        names = candidates[family]
        clean = {name: _find(accuracies, TUNING, model, name) for name in names}
        harmed = {name: _find(accuracies, attacked.get(model, ""), model, name) for name in names}
        means = {name: (clean[name].accuracy + harmed[name].accuracy) / 2 for name in names}
        best = max(names, key=means.__getitem__)
        for name in names:
            numbers = (clean[name].n, *_interval(clean[name]), *_interval(harmed[name]))
            choice = (means[name], str(name == best).lower(), len(names))
            rows.append((model, family, name, *numbers, *choice))
            percentages = (*_ours(clean[name], None)[:2], *_ours(harmed[name], None)[:2])
            remark = f"**chosen** of {len(names)}" if name == best else NONE
            mean = f"{100 * means[name]:.2f}"
            lines.append((model, family, name, str(clean[name].n), *percentages, mean, remark))
    return Table(
        columns=(
            *("model", "family", "defence", "n", "accuracy_original", "ci_low_original"),
            *("ci_high_original", "accuracy_universal", "ci_low_universal", "ci_high_universal"),
            *("mean", "chosen", "tried"),
        ),
        rows=rows,
        title="Settings of defences, compared on images outside the test set",
        header=(
            *("Model", "Family", "Defence", "n", "Original images, %", "95 % interval"),
            *("Attacked images, %", "95 % interval", "Mean, %", "Choice"),
        ),
        lines=lines,
        accuracies=[result.accuracy for result in results],
    )


def write(
    made: Table | Sequence[Table],
    csv_path: str | Sequence[str],
    markdown_path: str | Sequence[str],
    json_path: str | Sequence[str],
    *,
    pattern: str | None = None,
    note: str | None = None,
) -> str:
    """Write a table, or several, in all forms.

    Args:
        made: what to write.
        csv_path: where its CSV goes; of several tables, where each goes.
        markdown_path: likewise, its Markdown.
        json_path: likewise, its JSON.
        pattern: the file names that were counted; the remark says so.
        note: a remark on the images, to print below each.

    Returns:
        What the tables say, in a sentence.
    """
    several = [made] if isinstance(made, Table) else made
    paths = (csv_path, markdown_path, json_path)
    of_each = [[path] if isinstance(path, str) else path for path in paths]
    for table, *forms in zip(several, *of_each, strict=True):
        _write(table, forms, pattern, note)
    return "; ".join(table.answer or f"{table.title}: {len(table.rows)} rows" for table in several)


def _write(table: Table, forms: Sequence[str], pattern: str | None, note: str | None) -> None:
    csv_path, markdown_path, json_path = forms
    with replacing(csv_path) as temporary:
        write_csv(temporary, table.columns, table.rows)
    readable = content(table, pattern)
    with replacing(markdown_path) as temporary:
        blocks = filter(None, (*paragraphs(readable), note))
        temporary.write_text("\n\n".join(blocks) + "\n", encoding="utf-8")
    with replacing(json_path) as temporary:
        text = json.dumps(readable | {"note": note}, ensure_ascii=False, indent=1)
        temporary.write_text(text + "\n", encoding="utf-8")


def content(table: Table, pattern: str | None = None) -> dict[str, Any]:
    """What readers see of a table: its title, header, lines and remark, and the same of its parts.

    Args:
        table: the table.
        pattern: the file names that were counted.
    """
    remark = table.remark
    if table.accuracies:
        images = f"Images: {_range(result.n for result in table.accuracies)}, from "
        images += f"{_range(result.photographs for result in table.accuracies)} photographs"
        images += f" whose file name matches {code(pattern)}" if pattern else ""
        remark = f"{images}. {remark}"
    return {
        "title": table.title,
        "header": list(table.header),
        "lines": [list(line) for line in table.lines],
        "remark": remark,
        "parts": [content(part) for part in table.parts],
    }


def read(path: str | Path) -> dict[str, Any]:
    """What `write` wrote as JSON: a table's `content`, and the ``note`` on its images.

    Raises:
        UserError: the file is damaged.
    """
    try:
        table = json.loads(Path(path).read_text(encoding="utf-8"))
        keys = {"title", "header", "lines", "remark", "parts", "note"}
        if keys - table.keys():
            raise KeyError(*sorted(keys - table.keys()))
    except (ValueError, KeyError, AttributeError) as error:
        raise UserError(
            f"{path}: cannot be read as a table ({error}). Delete it and run Snakemake again."
        ) from error
    return table


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[Value]]) -> None:
    """Write a CSV with a header and fractions to six decimals, the same bytes on every system."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        for row in rows:
            writer.writerow(f"{item:.6f}" if isinstance(item, float) else item for item in row)


def code(text: str) -> str:
    """A text marked up as code, whatever backquotes are in it."""
    longest = max(map(len, re.findall("`+", text)), default=0)
    if not longest:
        return f"`{text}`"
    fence = "`" * (longest + 1)
    return f"{fence} {text} {fence}"


def markdown(header: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    rule = ["---"] * len(header)
    return "\n".join(f"| {' | '.join(map(_cell, row))} |" for row in (header, rule, *lines))


def paragraphs(table: Mapping[str, Any], level: int = 1) -> Iterator[str]:
    """The paragraphs of a table in Markdown, those of its parts one heading below."""
    yield f"{'#' * level} {table['title']}"
    if table["header"]:
        yield markdown(table["header"], table["lines"])
    yield table["remark"]
    for part in table["parts"]:
        yield from paragraphs(part, level + 1)


def _cell(text: str) -> str:
    """A cell that stays one in Markdown, and has neither links nor HTML, whatever is in it."""
    text = re.sub(r"(\\*)\|", r"\1\1\\|", " ".join(text.splitlines()))
    return re.sub(r"<(?=[A-Za-z/!?])", r"\\<", text.replace("](", "]\\("))


def _by_cell(results: Iterable[Result]) -> dict[tuple[str, str, str], Accuracy]:
    return {(r.dataset, r.model, r.defence): r.accuracy for r in results}


def _knowledge(dataset: str, model: str, defence: str) -> Knowledge:
    return DataSet.parse(dataset).knowledge_of(Network(model, defence))


def _find(
    accuracies: Mapping[tuple[str, str, str], Accuracy], dataset: str, model: str, defence: str
) -> Accuracy:
    if (dataset, model, defence) not in accuracies:
        raise _lacking(dataset, model, defence)
    return accuracies[dataset, model, defence]


def _lacking(dataset: str, model: str, defence: str) -> UserError:
    return UserError(
        f"found no score of {model}/{defence} on {dataset}. Make it with: snakemake --cores 1 "
        f"results/scores/{dataset}/{model}/{defence}.h5"
    )


def _interval(result: Accuracy) -> tuple[float, float, float]:
    return result.accuracy, result.low, result.high


def _ours(result: Accuracy, theirs: float | None) -> tuple[str, str, str]:
    """Our accuracy, its interval and the paper's accuracy, in percent."""
    return (
        f"{100 * result.accuracy:.2f}",
        f"{100 * result.low:.1f} to {100 * result.high:.1f}",
        NONE if theirs is None else f"{100 * theirs:.2f}",
    )


def _range(numbers: Iterable[int]) -> str:
    ordered = sorted(set(numbers))
    return f"{ordered[0]:,}" if len(ordered) == 1 else f"{ordered[0]:,} to {ordered[-1]:,}"
