"""Figure 4: universal perturbations as pictures."""

from pathlib import Path

from advrob.figures import panels, plotting
from advrob.figures.panels import Picture
from advrob.files import provenance, store
from advrob.job.script import run

COLUMNS = 4


def main(*, perturbations: list[str], pdf: str, png: str) -> str:
    """Draw perturbation files side by side, magnified to the full range."""
    pictures = []
    for path in perturbations:
        with store.read(path, "perturbation/1") as file:
            attributes = {**provenance.params(file), **file.attrs}
            image = panels.magnify(file["perturbation"][:], attributes["radius"])
        pictures.append(Picture(image, panels.caption(Path(path).stem, attributes)))
    rows = [pictures[start : start + COLUMNS] for start in range(0, len(pictures), COLUMNS)]
    figure = panels.grid(rows, [""] * len(rows[0]), [""] * len(rows))
    plotting.save(figure, pdf=pdf, png=png, dpi=panels.DPI)
    return f"Figure 4: {len(pictures)} perturbations"


if __name__ == "__main__":
    run(main)
