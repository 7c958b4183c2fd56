"""A page that tells what a run found: one HTML file that needs neither a network nor Snakemake.

Tables are read from the Markdown that the workflow writes, captions are those of its reports, and
pictures are part of the page. Whatever comes from a file or the configuration is escaped.
"""

import base64
import csv
import io
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import yaml
from docutils.core import publish_parts
from jinja2 import Environment, StrictUndefined
from markupsafe import Markup, escape
from PIL import Image

from advrob.findings.robustness import NORMS, WORST
from advrob.plan.names import Knowledge

# Pictures that are larger are stored again: at most so wide, in pixels, and in a lossy format.
LARGEST, WIDEST = 300_000, 1600
QUALITY = 85
# A line does not break before it.
PERCENT = "\u00a0%"
# The captions' text is trusted, the values in it are not: nothing of it reads files or is raw HTML.
DOCUTILS = {"raw_enabled": False, "file_insertion_enabled": False, "halt_level": 2}
# What `advrob.job.script` writes first, and `advrob.job.compute.announce` after it.
MACHINE = re.compile(r"on (?P<machine>.+), threads: \d+")
DEVICE = re.compile(r".* images on (?P<device>.+) in (?P<precision>\w+)")


@dataclass(frozen=True)
class Entry:
    """A table or a figure of the page.

    Attributes:
        name: its heading.
        group: the experiment that it belongs to.
        anchor: its name in links.
        content: the table, or the picture.
        caption: what is seen and what it means.
        is_table: whether it is a table.
    """

    name: str
    group: str
    anchor: str
    content: Markup
    caption: Markup
    is_table: bool


@dataclass(frozen=True)
class Share:
    """An accuracy with its interval, all in percent."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """For a sentence."""
        return f"{self.value:.1f}{PERCENT} ({self.low:.1f} to {self.high:.1f})"


@dataclass(frozen=True)
class Holding:
    """What a network gets right.

    Attributes:
        model: the model's name.
        defence: the defence's name.
        n: how many images were attacked.
        original: of the images as they are.
        static: the least under an attack that does not know the defence; None if there is no such.
        worst: under all attacks of the smallest radius, image by image.
        within: that threat model, in words.
        grade: of the evidence, A to D; see `advrob.findings.checks.grade`.
        checks: what is to be said of the attacks.
    """

    model: str
    defence: str
    n: int
    original: Share
    static: Share | None
    worst: Share
    within: str
    grade: str
    checks: str


@dataclass(frozen=True)
class Timing:
    """What the jobs of a rule took: seconds, in sum, and megabytes, the largest."""

    rule: str
    jobs: int
    seconds: float
    memory: float


def read_csv(path: str | Path) -> list[dict[str, str]]:
    """The rows of a CSV."""
    with Path(path).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def holdings(rows: Iterable[Mapping[str, str]]) -> list[Holding]:
    """Networks from the rows of ``table_robustness.csv``, in their order."""
    found = []
    for (model, defence), group in groupby(rows, lambda row: (row["model"], row["defence"])):
        of = list(group)
        by = {(row["knowledge"], row["attack"]): _share(row) for row in of}
        static = [share for (known, _), share in by.items() if known == Knowledge.MATCHED]
        # The threat model that most evaluations have: the largest change of a pixel, the least.
        worst = min(
            (row for row in of if row["attack"] == WORST),
            key=lambda row: (row["norm"] != "linf", float(row["radius"])),
        )
        found.append(
            Holding(
                model,
                defence,
                int(of[0]["n"]),
                by["none", "original"],
                min(static, key=lambda share: share.value, default=None),
                _share(worst),
                f"{NORMS[worst['norm']]} {float(worst['radius']):g}/255",
                worst["grade"],
                of[0]["checks"],
            )
        )
    return found


def _share(row: Mapping[str, str]) -> Share:
    return Share(*(100 * float(row[key]) for key in ("accuracy", "ci_low", "ci_high")))


def answer(networks: Sequence[Holding], verdicts: Mapping[str, int]) -> list[str]:
    """The run's answer in sentences.

    Args:
        networks: of one or more models.
        verdicts: verdict -> how many of the paper's claims and numbers have it.
    """
    sentences = []
    for model, group in groupby(networks, lambda network: network.model):
        of = {network.defence: network for network in group}
        bare = of.pop("none", None)
        if bare:
            sentences.append(
                f"{model} without a defence recognises {bare.original} of {bare.n:,} original "
                f"images, and {bare.worst} of them under the worst attack within {bare.within} "
                f"(evidence: {bare.grade})."
            )
        if not of:
            continue
        best = max(of.values(), key=lambda network: network.worst.value)
        sentence = (
            f"Behind the best of its defences, {best.defence}, {best.worst} are left within "
            f"{best.within} (evidence: {best.grade})"
        )
        if bare:
            gained = best.worst.low > bare.worst.high
            sentence += (
                ": more than without a defence, beyond what chance explains"
                if gained
                else ", which these images do not tell from no defence at all"
            )
        if best.static:
            left = f"{best.static.value:.1f}{PERCENT}"
            sentence += f"; an attacker who does not know the defence leaves {left}"
        sentences.append(f"{sentence}.")
    if failed := [network for network in networks if network.grade == "D"]:
        names = ", ".join(f"{network.model}/{network.defence}" for network in failed)
        sentences.append(
            f"Checks of the attacks failed for {names}: what is left there may be the attacks' "
            "weakness."
        )
    parts = ", ".join(f"{count} {verdict}" for verdict, count in verdicts.items())
    total = sum(verdicts.values())
    sentences.append(
        f"Of the {total} claims and numbers of the paper that were looked at: {parts}."
    )
    return sentences


def verdict_counts(rows: Iterable[Mapping[str, str]]) -> dict[str, int]:
    """How many rows of ``replication.csv`` have each verdict, the most decided first."""
    order = ("reproduced", "not reproduced", "undecided", "not tested")
    counts = Counter(row["verdict"] for row in rows)
    return {verdict: counts[verdict] for verdict in order if counts[verdict]}


def table(markdown: str, said: str | None = None) -> Markup:
    """The HTML of what `findings.tables` writes: headings, tables, paragraphs, bold and code.

    Args:
        markdown: the text. Its title, a heading of the first level, is left out: the page has its
            own.
        said: a paragraph that is left out as well, if there is one.
    """
    blocks = []
    for block in markdown.strip().split("\n\n"):
        if block.startswith("# ") or block == said:
            continue
        if block.startswith("#"):
            marks, _, text = block.partition(" ")
            blocks.append(Markup("<h{0}>{1}</h{0}>").format(len(marks) + 2, _inline(text)))
        elif block.startswith("|"):
            blocks.append(_rows([line.strip("| ").split(" | ") for line in block.splitlines()]))
        else:
            blocks.append(Markup("<p>{}</p>").format(_inline(block)))
    return Markup("\n").join(blocks)


def _rows(rows: Sequence[Sequence[str]]) -> Markup:
    header, _, *lines = rows
    head = Markup("").join(Markup('<th scope="col">{}</th>').format(_inline(c)) for c in header)
    body = Markup("\n").join(
        Markup("<tr>{}</tr>").format(
            Markup("").join(Markup("<td{}>{}</td>").format(_align(c), _inline(c)) for c in line)
        )
        for line in lines
    )
    return Markup(
        '<div class="wide" tabindex="0"><table><thead><tr>{}</tr></thead>\n<tbody>{}</tbody>'
        "</table></div>"
    ).format(head, body)


def _align(cell: str) -> Markup:
    """Names, numbers and intervals are not broken into lines, sentences are."""
    whole = " " not in cell or re.match(r"[+-]?[\d–]", cell)
    return Markup(' class="whole"') if whole else Markup("")


def _inline(text: str) -> Markup:
    html = re.sub(r"\*\*(.+?)\*\*", r"<strong>\1</strong>", str(escape(text)))
    return Markup(re.sub(r"`(.+?)`", r"<code>\1</code>", html))


def picture(path: str | Path, description: str) -> Markup:
    """An image element that holds the picture of a PNG file; smaller, where that is a large one."""
    path = Path(path)
    data, kind = path.read_bytes(), "png"
    with Image.open(path) as stored:
        width, height = stored.size
        if len(data) > LARGEST:
            scale, buffer = min(1, WIDEST / width), io.BytesIO()
            smaller = stored.convert("RGB").resize((round(width * scale), round(height * scale)))
            smaller.save(buffer, "WEBP", quality=QUALITY)
            data, kind = buffer.getvalue(), "webp"
    text = base64.b64encode(data).decode("ascii")
    return Markup('<img src="data:image/{};base64,{}" width="{}" height="{}" alt="{}">').format(
        kind, text, width, height, description
    )


def caption(text: str, params: Mapping[str, Any]) -> Markup:
    """The HTML of a caption in reStructuredText, which may ask for its rule's parameters."""
    template = Environment(undefined=StrictUndefined).from_string(text)
    filled = template.render(snakemake={"params": params})
    parts = publish_parts(filled, writer="html5", settings_overrides=DOCUTILS)
    return Markup(parts["body"])


def entry(
    file: str, name: str, group: str, text: str, params: Mapping[str, Any], note: str | None
) -> Entry:
    """A table or a figure.

    Args:
        file: Markdown, or a PNG.
        name: the heading.
        group: the experiment.
        text: of the caption.
        params: what that may ask for, of its rule's parameters.
        note: on the images; the page says it once, so neither table nor caption does.
    """
    is_table = file.endswith(".md")
    if is_table:
        content = table(Path(file).read_text(encoding="utf-8"), note)
    else:
        content = picture(file, name)
    anchor = f"{Path(file).parent.name}-{Path(file).stem}"
    return Entry(name, group, anchor, content, caption(text, {**params, "note": None}), is_table)


def matching(pattern: Mapping[str, str]) -> Iterator[Path]:
    """The existing files of a pattern: a ``folder``, and a ``regex`` of their whole path."""
    regex = re.compile(pattern["regex"])
    files = sorted(Path(pattern["folder"]).rglob("*"))
    return (file for file in files if regex.match(file.as_posix()) and file.is_file())


def timings(benchmarks: Mapping[str, Mapping[str, str]]) -> list[Timing]:
    """What rules took, the longest first.

    Args:
        benchmarks: rule -> the pattern of its benchmark files; see `matching`.
    """
    found = []
    for rule, pattern in benchmarks.items():
        jobs = []
        for file in matching(pattern):
            with file.open(newline="", encoding="utf-8") as text:
                jobs += list(csv.DictReader(text, delimiter="\t"))
        if jobs:
            seconds, memory = ([_number(job[key]) for job in jobs] for key in ("s", "max_rss"))
            found.append(Timing(rule, len(jobs), sum(seconds), max(memory)))
    return sorted(found, key=lambda timing: -timing.seconds)


def _number(text: str) -> float:
    # Snakemake writes NA, or a dash, for what it was too late to measure.
    try:
        return float(text)
    except ValueError:
        return 0.0


def machines(logs: Iterable[Mapping[str, str]]) -> tuple[dict[str, int], dict[str, int]]:
    """Machines, and devices with their precision, each with the number of jobs that ran there.

    Args:
        logs: the patterns of jobs' logs; see `matching`.
    """
    places: Counter[str] = Counter()
    devices: Counter[str] = Counter()
    for pattern in logs:
        for file in matching(pattern):
            lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
            if lines and (first := MACHINE.fullmatch(lines[0])):
                places[first["machine"]] += 1
            said = next(filter(None, map(DEVICE.fullmatch, lines[1:3])), None)
            if said:
                devices[f"{said['device']}, {said['precision']}"] += 1
    return dict(places.most_common()), dict(devices.most_common())


def duration(seconds: float) -> str:
    """A time for a reader."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min" if hours else f"{minutes} min {seconds:02} s"


def page(template: str, **content: Any) -> str:
    """Fill the template; everything but `Markup` is escaped, and nothing may be missing."""
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["duration"] = duration
    return environment.from_string(template).render(content)


def plain_yaml(config: Mapping[str, Any]) -> str:
    """A configuration as YAML, its keys in their order."""
    plain = json.loads(json.dumps(config))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
