"""Figure 4: universal perturbations as pictures."""

from pathlib import Path

from advrob import panels, plotting, store
from advrob.job import run
from advrob.panels import Picture


def main(*, perturbations: list[str], pdf: str, png: str) -> str:
    """Draw perturbation files side by side, magnified to the full range."""
    pictures = []
    for path in perturbations:
        with store.read(path, "perturbation/1") as file:
            made = store.params(file)
            image = panels.magnify(file["perturbation"][:], made["radius"])
            norm = {"linf": "∞", "l2": "2"}.get(made["norm"], made["norm"])
            own, held_out = (
                100 * float(file.attrs[rate]) for rate in ("fooling_rate", "fooling_rate_held_out")
            )
        caption = (
            f"ℓ{norm} radius {made['radius']:g}/255\nfools {own:.0f} %, held out {held_out:.0f} %"
        )
        pictures.append((Path(path).stem, Picture(image, caption)))
    names, row = zip(*pictures, strict=True)
    plotting.save(panels.grid([row], names, [""]), pdf=pdf, png=png, dpi=panels.DPI)
    return f"Figure 4: {len(pictures)} perturbations"


if __name__ == "__main__":
    run(main)
