"""What the paper claims, and the rule by which each claim is judged on our results.

A **cell** is the accuracy of one network on one data set, written ``data set/defence``: on
``original`` images, on ``universal`` ones (of the configured data set), or on ones made against the
same model behind a defence, ``gradient-{defence}``. Defences have the names of
`advrob.findings.paper`; two more are named by the part that they play, `DOWNSAMPLE_75` and
`PCA_FEWEST`.

A claim is judged by an interval that holds the true value in 95 % of all samples of images:
``reproduced`` if all of it agrees with the claim, ``not reproduced`` if none of it does,
``undecided`` otherwise.
"""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from advrob.files.identities import photograph
from advrob.findings import metrics, paper, tables
from advrob.findings.tables import Result

REPRODUCED, UNDECIDED, NOT_REPRODUCED = "reproduced", "undecided", "not reproduced"
NOT_TESTED = "not tested"
# From against a claim to for it.
VERDICTS = (NOT_REPRODUCED, UNDECIDED, REPRODUCED)

# Downsampling to 75 %, where `paper` calls that to 50 % ``downsample``.
DOWNSAMPLE_75 = "downsample_75"
# The principal components of the smallest number of images that they were fitted to.
PCA_FEWEST = "pca_fewest"
# Models trained from the undefended one, by their lesson, and another model's universal images.
TRAINED, UNIVERSAL_OF = "trained-", "universal-of-"

# The paper's accuracies, by cell.
PAPER: dict[str, float] = {
    **{f"{dataset}/{defence}": value for (dataset, defence), value in paper.TABLE_1.items()},
    **{f"gradient-{b}/{a}": values[0] for (a, b), values in paper.TABLE_2.items()},
    **{f"gradient-{a}/{b}": values[1] for (a, b), values in paper.TABLE_2.items()},
    f"original/{DOWNSAMPLE_75}": paper.TABLE_3[0.75][0],
    f"universal/{DOWNSAMPLE_75}": paper.TABLE_3[0.75][1],
}

Results = Mapping[str, Result]


@dataclass(frozen=True)
class Finding:
    """What became of a claim on our results.

    Attributes:
        verdict: one of `VERDICTS`, or `NOT_TESTED`.
        reason: in a few words.
        test: how it was judged.
        cells: those that the numbers are of.
        ours: an accuracy, or the difference of two; None where nothing was tested.
        low: lower end of its interval.
        high: upper end.
        paper: the paper's value, where it gives one.
    """

    verdict: str
    reason: str
    test: str = ""
    cells: tuple[str, ...] = ()
    ours: float | None = None
    low: float | None = None
    high: float | None = None
    paper: float | None = None


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement of the paper.

    Attributes:
        id: short and unique.
        section: where it is: a section's number, or a table's.
        text: the statement, in our words.
    """

    id: str
    section: str
    text: str

    @property
    def cells(self) -> tuple[str, ...]:
        """All cells that it is about."""
        raise NotImplementedError

    def judge(self, results: Results) -> Finding:
        """Test the claim on results, of which there is one of each of its cells."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class Number(Claim):
    """An accuracy in one of the paper's tables.

    Reproduced if Newcombe's interval of the difference to ours, which joins our Wilson interval and
    that of the paper's 2,000 images, contains 0; not reproduced if it does not. Undecided if it
    contains 0 only because ours are few: it reaches beyond `MARGIN`.

    Attributes:
        cell: of the accuracy.
    """

    MARGIN: ClassVar[float] = 0.10
    cell: str

    @property
    def cells(self) -> tuple[str, ...]:
        """The one cell."""
        return (self.cell,)

    def judge(self, results: Results) -> Finding:
        """Compare two independent proportions."""
        ours, theirs = _accuracy(results[self.cell]), PAPER[self.cell]
        n = ours.photographs
        low, high = metrics.newcombe(ours.accuracy * n, n, theirs * paper.IMAGES, paper.IMAGES)
        if not low <= 0 <= high:
            verdict = NOT_REPRODUCED
        elif _within(low, high, self.MARGIN):
            verdict = REPRODUCED
        else:
            verdict = UNDECIDED
        return Finding(
            verdict,
            f"differs by {_points(low)} to {_points(high)} points"
            + (": too few images to tell" if verdict == UNDECIDED else ""),
            f"two proportions, n = {n:,} and {paper.IMAGES:,}",
            self.cells,
            ours.accuracy,
            ours.low,
            ours.high,
            theirs,
        )


@dataclass(frozen=True, kw_only=True)
class Below(Claim):
    """An accuracy is low.

    Attributes:
        cell: of the accuracy.
        limit: what it is below.
    """

    cell: str
    limit: float = 0.5

    @property
    def cells(self) -> tuple[str, ...]:
        """The one cell."""
        return (self.cell,)

    def judge(self, results: Results) -> Finding:
        """See on which side of the limit the interval of the accuracy lies."""
        ours = _accuracy(results[self.cell])
        verdict, relation = _side(-ours.high, -ours.low, -self.limit)
        return Finding(
            verdict,
            f"the interval {relation} below {self.limit:.0%}",
            "Wilson interval",
            self.cells,
            ours.accuracy,
            ours.low,
            ours.high,
            PAPER.get(self.cell),
        )


@dataclass(frozen=True, kw_only=True)
class Higher(Claim):
    """One accuracy is higher than another on the same photographs.

    Of several pairs, either each must be so or some one. Their intervals hold together
    (Bonferroni).

    Attributes:
        pairs: the higher cell and the lower one.
        by: how much higher at least.
        every: whether all pairs must be so; otherwise one is enough.
    """

    pairs: tuple[tuple[str, str], ...]
    by: float = 0
    every: bool = True

    @property
    def cells(self) -> tuple[str, ...]:
        """All cells of the pairs, each once."""
        return tuple(dict.fromkeys(cell for pair in self.pairs for cell in pair))

    def judge(self, results: Results) -> Finding:
        """Give the verdict on the pair that decides: the worst of all, or the best."""
        decides = min if self.every else max
        return decides(
            (self._judge(pair, results) for pair in self.pairs),
            key=lambda finding: (VERDICTS.index(finding.verdict), finding.ours),
        )

    def _judge(self, pair: tuple[str, str], results: Results) -> Finding:
        confidence = 1 - (1 - metrics.CONFIDENCE) / len(self.pairs)
        ours = _paired(pair, results, confidence)
        verdict, relation = _side(ours.low, ours.high, self.by)
        reason = f"the interval {relation} above {100 * self.by:g}"
        theirs = _paper_difference(pair)
        if theirs is not None:
            side = "in" if ours.low <= theirs <= ours.high else "out"
            reason += f"; the paper's {_points(theirs)} are {side}side"
        if len(self.pairs) > 1:
            rank = "weakest" if self.every else "strongest"
            reason = f"{rank} of {len(self.pairs)}, {pair[0]} against {pair[1]}: {reason}"
        return Finding(
            verdict,
            reason,
            f"paired interval, above {100 * self.by:g} points",
            pair,
            ours.difference,
            ours.low,
            ours.high,
            theirs,
        )


@dataclass(frozen=True, kw_only=True)
class Similar(Claim):
    """Two accuracies on the same photographs are nearly equal.

    Two one-sided tests at 2.5 %: reproduced if the interval of the difference lies within the
    margin. Where both accuracies are below the margin themselves nothing is left to differ, and the
    claim is undecided.

    Attributes:
        pair: of cells.
        margin: up to which difference accuracies are nearly equal.
    """

    pair: tuple[str, str]
    margin: float = 0.05

    @property
    def cells(self) -> tuple[str, ...]:
        """Both."""
        return self.pair

    def judge(self, results: Results) -> Finding:
        """Test for equivalence."""
        ours = _paired(self.pair, results)
        if all(_accuracy(results[cell]).high < self.margin for cell in self.pair):
            verdict, reason = UNDECIDED, "both recognise next to nothing, which says nothing"
        else:
            verdict, reason = _equivalence(ours.low, ours.high, self.margin)
        return Finding(
            verdict,
            reason,
            f"equivalence within {100 * self.margin:g} points",
            self.pair,
            ours.difference,
            ours.low,
            ours.high,
            _paper_difference(self.pair),
        )


@dataclass(frozen=True, kw_only=True)
class Robuster(Claim):
    """One network keeps more of what it recognises than another.

    Compared are the shares of photographs that stay recognised under attack, each among those that
    the network recognises without: what a network never recognised shows no robustness. The
    interval is Newcombe's of two independent proportions; it is wider than one of pairs, of which
    there are none where the networks recognise different photographs.

    Attributes:
        first: cells of the more robust network, without and under attack.
        second: the same of the other.
    """

    FEWEST: ClassVar[int] = 10
    first: tuple[str, str]
    second: tuple[str, str]

    @property
    def cells(self) -> tuple[str, ...]:
        """All four, each once."""
        return tuple(dict.fromkeys((*self.first, *self.second)))

    def judge(self, results: Results) -> Finding:
        """Compare two shares; undecided where a network recognises next to nothing."""
        shares = []
        for clean, attacked in (self.first, self.second):
            shares.append(list(_stays(results[clean], results[attacked]).values()))
            if len(shares[-1]) < self.FEWEST:
                recognised = f"{clean.partition('/')[2]} recognises {len(shares[-1])} photographs"
                return Finding(UNDECIDED, f"{recognised}, too few to lose any")
        (one, other) = shares
        low, high = metrics.newcombe(sum(one), len(one), sum(other), len(other))
        verdict, relation = _side(low, high, 0)
        return Finding(
            verdict,
            f"stay recognised: {_share(one)} against {_share(other)}; the interval {relation} "
            "above 0",
            f"two proportions, n = {len(one):,} and {len(other):,}",
            (self.first[1], self.second[1]),
            sum(one) / len(one) - sum(other) / len(other),
            low,
            high,
        )


@dataclass(frozen=True, kw_only=True)
class AnyCategory(Claim):
    """An attack misleads in every category alike.

    Of the photographs that are recognised without the attack, the shares that are misread under it
    are compared between the categories with the largest and the smallest share. The interval of the
    difference holds for all pairs of categories together (Bonferroni).

    Attributes:
        pair: cells of a network, without and under attack.
        margin: up to which difference shares are alike.
    """

    FEWEST: ClassVar[int] = 5
    pair: tuple[str, str]
    margin: float = 0.10

    @property
    def cells(self) -> tuple[str, ...]:
        """Both."""
        return self.pair

    def judge(self, results: Results) -> Finding:
        """Test for equivalence of the two categories that differ most."""
        clean, attacked = (results[cell] for cell in self.pair)
        by_category: dict[int, list[float]] = defaultdict(list)
        assert clean.predicted is not None
        # What is recognised is predicted to be what it is.
        category = {
            photograph(identity): int(predicted)
            for identity, predicted, correct in zip(
                clean.ids, clean.predicted, clean.correct, strict=True
            )
            if correct
        }
        for name, stays in _stays(clean, attacked).items():
            by_category[category[name]].append(1 - stays)
        misread = sorted(
            (shares for shares in by_category.values() if len(shares) >= self.FEWEST),
            key=lambda shares: (sum(shares) / len(shares), -len(shares)),
        )
        if len(misread) < 2:
            return Finding(
                UNDECIDED, f"no two categories have {self.FEWEST} photographs that are recognised"
            )
        pairs = len(misread) * (len(misread) - 1) / 2
        least, most = misread[0], misread[-1]
        low, high = metrics.newcombe(
            *(sum(most), len(most), sum(least), len(least)),
            confidence=1 - (1 - metrics.CONFIDENCE) / pairs,
        )
        verdict, reason = _equivalence(low, high, self.margin)
        return Finding(
            verdict,
            f"misread are {_share(least)} to {_share(most)} in {len(misread)} categories; {reason}",
            f"equivalence within {100 * self.margin:g} points",
            self.pair,
            sum(most) / len(most) - sum(least) / len(least),
            low,
            high,
        )


@dataclass(frozen=True, kw_only=True)
class AnyModel(Claim):
    """Another model's universal images cost a model accuracy, too.

    Attributes:
        cell: of the model without an attack.
    """

    cell: str = "original/none"

    @property
    def cells(self) -> tuple[str, ...]:
        """The one that is always there; the others are as many as there are other models."""
        return (self.cell,)

    def judge(self, results: Results) -> Finding:
        """Compare the original images with every other model's."""
        others = tuple((self.cell, cell) for cell in results if cell.startswith(UNIVERSAL_OF))
        if not others:
            return Finding(NOT_TESTED, "needs a second model in experiments.models")
        pairs = Higher(id=self.id, section=self.section, text=self.text, pairs=others)
        return pairs.judge(results)


@dataclass(frozen=True, kw_only=True)
class Untested(Claim):
    """A claim that results of this kind cannot decide.

    Attributes:
        reason: why not.
    """

    reason: str

    @property
    def cells(self) -> tuple[str, ...]:
        """None."""
        return ()

    def judge(self, results: Results) -> Finding:
        """Say why it is not tested."""
        return Finding(NOT_TESTED, self.reason)


def _accuracy(result: Result) -> metrics.Accuracy:
    return metrics.accuracy(result.correct, result.ids)


def _paired(
    pair: tuple[str, str], results: Results, confidence: float = metrics.CONFIDENCE
) -> metrics.Comparison:
    first, second = (results[cell] for cell in pair)
    return tables.paired(first, second, confidence)


def _stays(clean: Result, attacked: Result) -> dict[str, float]:
    """Photographs that are recognised without an attack: the share of crops that still are."""
    tables.check_same_images(clean, attacked)
    crops: dict[str, list[bool]] = defaultdict(list)
    for identity, before, after in zip(clean.ids, clean.correct, attacked.correct, strict=True):
        if before:
            crops[photograph(identity)].append(bool(after))
    return {name: sum(stay) / len(stay) for name, stay in crops.items()}


def _share(shares: list[float]) -> str:
    return f"{sum(shares) / len(shares):.0%}"


def _equivalence(low: float, high: float, margin: float) -> tuple[str, str]:
    """The verdict on a difference that should lie within a margin, and where its interval lies."""
    if _within(low, high, margin):
        return REPRODUCED, "the interval lies within the margin"
    if low >= margin or high <= -margin:
        return NOT_REPRODUCED, "the interval lies outside the margin"
    return UNDECIDED, "the interval reaches beyond the margin"


def _paper_difference(pair: tuple[str, str]) -> float | None:
    first, second = (PAPER.get(cell) for cell in pair)
    return None if first is None or second is None else first - second


def _within(low: float, high: float, margin: float) -> bool:
    return -margin < low and high < margin


def _side(low: float, high: float, limit: float) -> tuple[str, str]:
    """The verdict on values above a limit, and where the interval lies."""
    if low > limit:
        return REPRODUCED, "lies"
    if high < limit:
        return NOT_REPRODUCED, "does not lie"
    return UNDECIDED, "lies partly"


def _points(difference: float) -> str:
    return f"{100 * difference:+.2f}"


def _numbers() -> tuple[Number, ...]:
    def number(table: int, row: str, text: str, cell: str) -> Number:
        return Number(id=f"table_{table}_{row}", section=f"table {table}", text=text, cell=cell)

    first = (
        number(
            1, f"{dataset}_{defence}", f"accuracy of {defence}, {dataset}", f"{dataset}/{defence}"
        )
        for dataset, defence in paper.TABLE_1
    )
    second = (
        number(
            2,
            f"{network}_against_{other}",
            f"accuracy of {network} on images made against {other}",
            f"gradient-{other}/{network}",
        )
        for a, b in paper.TABLE_2
        for network, other in ((a, b), (b, a))
    )
    third = (
        number(
            3,
            f"{dataset}_{ratio:.0%}".rstrip("%"),
            f"accuracy of downsampling by {ratio:.0%}, {dataset}",
            f"{dataset}/{defence}",
        )
        for ratio, defence in ((0.5, "downsample"), (0.75, DOWNSAMPLE_75))
        for dataset in ("original", "universal")
    )
    return (*first, *second, *third)


CLAIMS: tuple[Claim, ...] = (
    Higher(
        id="headline_downsample",
        section="abstract",
        text="downsampling improves robustness against universal perturbations",
        pairs=(("universal/downsample", "universal/none"),),
    ),
    *(
        Higher(
            id=f"headline_{lesson}",
            section="abstract",
            text=f"{training} improves robustness against universal perturbations",
            pairs=((f"universal/{TRAINED}{lesson}", f"universal/{TRAINED}standard"),),
        )
        for lesson, training in (
            ("gan", "training on a generator's images"),
            ("multitask", "multi-task learning"),
        )
    ),
    AnyCategory(
        id="any_category",
        section="3",
        text="universal perturbations mislead whatever the image's category",
        pair=("original/none", "universal/none"),
    ),
    AnyModel(
        id="any_model",
        section="3",
        text="universal perturbations mislead whatever the model: another model's do, too",
    ),
    *(
        Below(
            id=f"own_gradient_{defence}",
            section="3",
            text=f"images made against {network} are certain to be misread by it (over 95 %)",
            cell=f"gradient-{defence}/{defence}",
            limit=0.05,
        )
        for defence, network in (
            ("none", "no defence"),
            ("noise", "noise"),
            ("pca", "PCA"),
        )
    ),
    # Section 6, in its order.
    Below(
        id="autoencoder",
        section="6",
        text="the autoencoder does not reproduce useful images: most original ones are misread",
        cell="original/autoencoder",
    ),
    Untested(
        id="worked",
        section="6",
        text="PCA, noise and downsampling worked quite well",
        reason="states no measure; the claims below have its parts",
    ),
    Below(
        id="pca_low_original",
        section="6",
        text="accuracy behind PCA is low on original images: most are misread",
        cell="original/pca",
    ),
    Below(
        id="pca_low_universal",
        section="6",
        text="accuracy behind PCA is low on universally perturbed images: most are misread",
        cell="universal/pca",
    ),
    Similar(
        id="pca_similar",
        section="6",
        text="behind PCA accuracies on original and perturbed images are very similar",
        pair=("original/pca", "universal/pca"),
    ),
    Robuster(
        id="pca_removes",
        section="6",
        text="PCA removes much of universal perturbations: more stays recognised behind it",
        first=("original/pca", "universal/pca"),
        second=("original/none", "universal/none"),
    ),
    Higher(
        id="pca_loses",
        section="6",
        text="PCA also removes a lot of the original data: it costs accuracy on original images",
        pairs=(("original/none", "original/pca"),),
    ),
    Higher(
        id="pca_more_original",
        section="6",
        text="more images to fit make PCA better on original images (a hypothesis)",
        pairs=(("original/pca", f"original/{PCA_FEWEST}"),),
    ),
    Higher(
        id="pca_more_universal",
        section="6",
        text="more images to fit make PCA better on perturbed images (a hypothesis)",
        pairs=(("universal/pca", f"universal/{PCA_FEWEST}"),),
    ),
    Higher(
        id="universal_cost",
        section="6",
        text="universal perturbations cost the undefended network over 20 points",
        pairs=(("original/none", "universal/none"),),
        by=0.20,
    ),
    Higher(
        id="noise_gain",
        section="6",
        text="noise wins accuracy back on perturbed images",
        pairs=(("universal/noise", "universal/none"),),
    ),
    Higher(
        id="noise_cost",
        section="6",
        text="noise costs accuracy on original images",
        pairs=(("original/none", "original/noise"),),
    ),
    Similar(
        id="noise_cost_small",
        section="6",
        text="what noise costs on original images is small",
        pair=("original/none", "original/noise"),
    ),
    Similar(
        id="downsample_similar",
        section="6",
        text="downsampling leaves the accuracy on perturbed images as it was without",
        pair=("universal/downsample", "universal/none"),
    ),
    Higher(
        id="downsample_cost",
        section="6",
        text="downsampling costs over 10 points on original images",
        pairs=(("original/none", "original/downsample"),),
        by=0.10,
    ),
    # What the tables show without a word in the text.
    Robuster(
        id="cross_none_pca",
        section="table 2",
        text="cross-tested, no defence is more robust than PCA",
        first=("original/none", "gradient-pca/none"),
        second=("original/pca", "gradient-none/pca"),
    ),
    Robuster(
        id="cross_noise_pca",
        section="table 2",
        text="cross-tested, noise is more robust than PCA",
        first=("original/noise", "gradient-pca/noise"),
        second=("original/pca", "gradient-noise/pca"),
    ),
    Similar(
        id="cross_none_noise",
        section="table 2",
        text="cross-tested, no defence and noise are nearly equal",
        pair=("gradient-noise/none", "gradient-none/noise"),
    ),
    Higher(
        id="ratio_original",
        section="table 3",
        text="downsampling by 75 % costs less on original images than by 50 %",
        pairs=((f"original/{DOWNSAMPLE_75}", "original/downsample"),),
    ),
    Similar(
        id="ratio_universal",
        section="table 3",
        text="on perturbed images downsampling by 75 % and by 50 % are nearly equal",
        pair=(f"universal/{DOWNSAMPLE_75}", "universal/downsample"),
    ),
    *(
        Untested(
            id=f"figure_{number}",
            section=f"figure {number}",
            text=f"the curve of accuracy on {images} images against the noise's magnitude",
            reason=f"no value or shape is stated; results/figures/figure_{number}.csv has ours",
        )
        for number, images in ((11, "original"), (12, "universally perturbed"))
    ),
    # Section 8, in its order.
    Higher(
        id="masking_works",
        section="8",
        text="masking perturbations works to a degree: some defence wins accuracy back",
        pairs=tuple(
            (f"universal/{defence}", "universal/none") for defence in ("pca", "noise", "downsample")
        ),
        every=False,
    ),
    Higher(
        id="always_cost",
        section="8",
        text="every defence costs accuracy on original images",
        pairs=tuple(
            ("original/none", f"original/{defence}") for defence in ("pca", "noise", "downsample")
        ),
    ),
    *(
        Higher(
            id=f"noise_best_{dataset}",
            section="8",
            text=text,
            pairs=tuple(
                (f"{dataset}/noise", f"{dataset}/{defence}")
                for defence in ("pca", "downsample", "autoencoder")
            ),
        )
        for dataset, text in (
            ("original", "noise is the best method: it costs least on original images"),
            ("universal", "noise is the best method: it wins most back on perturbed images"),
        )
    ),
    Untested(
        id="preventive",
        section="8",
        text="training on attacked images or on several tasks would raise both accuracies",
        reason="a conjecture: table_preventive has a verdict on each model that is trained",
    ),
    *_numbers(),
)
