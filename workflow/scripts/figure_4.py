"""Figure 4: universal perturbations as pictures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from advrob.figures import panels, plotting
from advrob.figures.panels import Picture
from advrob.files import store
from advrob.job.script import run

NORMS = {"linf": "ℓ∞", "l2": "ℓ2"}


COLUMNS = 4


def caption(name: str, made: Mapping[str, Any]) -> str:
    """A perturbation's name, norm, radius and, where it was made here, fooling rates."""
    size = f"{NORMS[made['norm']]} radius {made['radius']:g}/255"
    rates = [100 * made[f"fooling_rate{on}"] for on in ("", "_held_out") if "fooling_rate" in made]
    fools = "fools {:.0f} %, held out {:.0f} %".format(*rates) if rates else ""
    return "\n".join((*name.split("-", 1), size, fools))


def main(*, perturbations: list[str], pdf: str, png: str) -> str:
    """Draw perturbation files side by side, magnified to the full range."""
    pictures = []
    for path in perturbations:
        with store.read(path, "perturbation/1") as file:
            made = {**store.params(file), **file.attrs}
            image = panels.magnify(file["perturbation"][:], made["radius"])
        pictures.append(Picture(image, caption(Path(path).stem, made)))
    rows = [pictures[start : start + COLUMNS] for start in range(0, len(pictures), COLUMNS)]
    figure = panels.grid(rows, [""] * len(rows[0]), [""] * len(rows))
    plotting.save(figure, pdf=pdf, png=png, dpi=panels.DPI)
    return f"Figure 4: {len(pictures)} perturbations"


if __name__ == "__main__":
    run(main)
