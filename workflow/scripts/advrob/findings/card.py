"""A universal perturbation as a file that others can use, with a card that says what it is."""

import json
import tomllib
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from advrob.files import provenance, store
from advrob.files.atomic import replacing_folder
from advrob.findings import metrics, tables
from advrob.findings.metrics import Accuracy
from advrob.plan.kinds import kind

# Of the array, and what `advrob.images.published` calls its unit.
FILE, PIXELS = "perturbation.npy", "0..255"
PACKAGE = "deep-adversarial-robustness"
# Parameters of a perturbation's file that are about its network; the others are the method's.
NETWORK = ("model", "defence", "model_settings", "defence_settings")
# What is measured; the second of targeted perturbations.
RATES = ("fooling_rate", "hit_rate")
# Each on its own images, then on others.
Rates = Mapping[str, Sequence[Accuracy]]
README = """# {name}

A universal perturbation: one change that, added to any image, changes what a network predicts.
Made by Deep Adversarial Robustness {version}.

| | |
|---|---|
| model | {model} |
| defence | {defence} |
| method | {method} |
| norm | {norm} |
| radius | {radius}/255 |
| largest change of a value | {largest:.4g}/255 |
| l_2 length | {length:.4g}/255 |
{rates}
| seed | {seed} |

The fooling rate is the share of images whose predicted class changes{hits}, in percent,
measured on 8-bit images; in brackets its 95 % Wilson score interval, which counts photographs, not
crops.
Settings are as in the configuration; a file of weights is named by its SHA-256. `card.json` has the
same for programs.

`perturbation.npy` is float32 ({height}, {width}, 3): height, width, RGB, in units of 1/255. Add it
to an image of that size, uint8:

```python
import numpy as np

attacked = np.clip(image + np.load("perturbation.npy"), 0, 255).round().astype(np.uint8)
```

To score networks on images of {height} x {width} pixels under it with Deep Adversarial Robustness:

```yaml
perturbations:
  published:
    {label}:
      file: /path/to/{name}/{file}
      norm: {norm}
      radius: {radius}
      pixels: {pixels}
experiments:
  universal: published-{label}
```
"""


def export(folder: str | Path, perturbation: str, own: str, held_out: str) -> str:
    """Write a perturbation and its card into a folder, all of it or nothing.

    Args:
        folder: to make or replace: ``perturbation.npy``, float32 ``(H, W, 3)`` in units of 1/255,
            ``README.md`` and ``card.json``.
        perturbation: the file of a universal perturbation that was made here.
        own: the file of images that it was made from, all of them or the first ones.
        held_out: the file of images that it was measured on besides.

    Returns:
        Its name and fooling rates, in a sentence.

    Raises:
        UserError: a file is damaged or of another kind, or the disk is full.
    """
    with store.read(perturbation, "perturbation/1") as file:
        values, made, seed = file["perturbation"][:], provenance.params(file), file.attrs["seed"]
        found = {
            name: (file.attrs[name].item(), file.attrs[f"{name}_held_out"].item())
            for name in RATES
            if name in file.attrs
        }
    # The search takes the first images, if it does not take all.
    ids = (_ids(own)[: made.get("images")], _ids(held_out))
    rates: Rates = {
        name: [
            # The interval is that of a share of photographs, whichever crops it is made of.
            metrics.accuracy(np.full(len(names), rate), names)
            for rate, names in zip(pair, ids, strict=True)
        ]
        for name, pair in found.items()
    }
    card = _card(made, values, rates) | {"seed": seed.item()}
    with replacing_folder(folder) as temporary:
        np.save(temporary / FILE, values)
        text = json.dumps(card, ensure_ascii=False, indent=1)
        (temporary / "card.json").write_text(text + "\n", encoding="utf-8")
        (temporary / "README.md").write_text(_readme(card, rates), encoding="utf-8")
    fooled, others = found["fooling_rate"]
    return f"{card['name']}: fools {fooled:.1%} of its own images, {others:.1%} of others"


def _ids(path: str) -> list[str]:
    with store.read(path, "images/1") as file:
        return store.strings(file["ids"])


def _card(made: dict[str, Any], values: np.ndarray, rates: Rates) -> dict[str, Any]:
    """What ``card.json`` has, but for the seed.

    Args:
        made: the parameters of the perturbation's file.
        values: the perturbation.
        rates: on its own images and on others, by their names.
    """
    norm, radius = made["norm"], made["radius"]
    about = {"dataset", "norm", "radius", *NETWORK}
    options = {key: value for key, value in made.items() if key not in about}
    method = kind("universal", made["method"], "perturbations.universal.method")
    return {
        "name": made["dataset"],
        "version": _version(),
        "network": {key: made[key] for key in NETWORK},
        # The file has what was configured; keys that were not have their defaults.
        "method": options | method.values(made),
        "norm": norm,
        "radius": radius,
        "largest_change": float(np.abs(values).max()),
        "l2_length": float(np.linalg.norm(values)),
        "shape": list(values.shape),
        **{
            name: {
                images: {
                    "rate": rate.accuracy,
                    "ci_low": rate.low,
                    "ci_high": rate.high,
                    "images": rate.n,
                    "photographs": rate.photographs,
                }
                for images, rate in zip(("own", "held_out"), pair, strict=True)
            }
            for name, pair in rates.items()
        },
        "published": {"file": FILE, "norm": norm, "radius": radius, "pixels": PIXELS},
    }


def _readme(card: Mapping[str, Any], rates: Rates) -> str:
    network, options = card["network"], dict(card["method"])
    height, width, _ = card["shape"]
    lines = [
        f"| {name.replace('_', ' ')} on {rate.n:,} {images} | {rate.percent} |"
        for name, pair in rates.items()
        for images, rate in zip(
            ("images that it was made from", "held-out images"), pair, strict=True
        )
    ]
    return README.format(
        **{key: card[key] for key in ("name", "version", "seed")},
        **card["published"],
        model=_setting(network["model"], network["model_settings"]),
        defence=_setting(network["defence"], network["defence_settings"]),
        method=_setting(options.pop("method"), options),
        largest=card["largest_change"],
        length=card["l2_length"],
        rates="\n".join(lines),
        hits=", and the hit rate of those that are taken for the target" * ("hit_rate" in rates),
        height=height,
        width=width,
        label=card["name"].replace("-", "_"),
    )


def _setting(name: str, options: Mapping[str, Any]) -> str:
    """A name and, as code in a cell of a table, its settings."""
    if not options:
        return name
    code = tables.code(json.dumps(options, ensure_ascii=False)).replace("|", "\\|")
    return f"{name}: {code}"


def _version() -> str:
    """That of the folder of the project that this is in, or of the installed package."""
    project = Path(__file__).parents[4] / "pyproject.toml"
    if project.is_file():
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
    return metadata.version(PACKAGE)
