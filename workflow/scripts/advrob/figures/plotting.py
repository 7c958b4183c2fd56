"""The look that every figure shares, and how it is saved.

Figures are made without pyplot, so nothing needs a screen and nothing is kept between them.
"""

import matplotlib
from matplotlib.figure import Figure

from advrob.files.atomic import replacing

# Okabe and Ito (2008), told apart with every kind of colour vision, best on white first.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
CORRECT, WRONG = COLOURS[:2]
GREY, LIGHT = "#595959", "#D9D9D9"

# Inches: the width of a page's text.
WIDTH = 7.2

matplotlib.rcdefaults()
matplotlib.rcParams.update(
    {
        "font.family": "DejaVu Sans",
        "font.size": 8,
        "axes.titlesize": 9,
        "axes.linewidth": 0.6,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.edgecolor": GREY,
        "axes.labelcolor": "black",
        "xtick.color": GREY,
        "ytick.color": GREY,
        "xtick.labelcolor": "black",
        "ytick.labelcolor": "black",
        "legend.frameon": False,
        "lines.linewidth": 1.4,
        "lines.markersize": 3.5,
        "pdf.fonttype": 42,
        # Letters of mathematical text from the same family.
        "mathtext.fontset": "dejavusans",
    }
)


def save(figure: Figure, *, pdf: str, png: str, dpi: float = 300) -> None:
    """Save a figure twice, without dates or versions, so that equal figures are equal bytes."""
    with replacing(pdf) as temporary:
        figure.savefig(temporary, format="pdf", metadata={"CreationDate": None, "Producer": None})
    with replacing(png) as temporary:
        figure.savefig(
            temporary,
            format="png",
            dpi=dpi,
            metadata={"Software": None},
            pil_kwargs={"compress_level": 9},
        )
