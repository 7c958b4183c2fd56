"""Figures 11 and 12: accuracy against the magnitude of the noise."""

from advrob.figures import plotting
from advrob.files import store
from advrob.findings import tables
from advrob.job.script import run


def main(
    *, sweeps: list[str], scores: list[str], pattern: str | None, csv: str, pdf: str, png: str
) -> str:
    """Draw sweeps of one kind of data set, one a model, and these models without a defence."""
    read = [plotting.read_sweep(path, pattern) for path in sweeps]
    undefended = tables.read_results(scores, None, pattern)
    with store.replacing(csv) as temporary:
        rows = [row for sweep in read for row in sweep.rows()]
        tables.write_csv(temporary, plotting.SWEEP_COLUMNS, rows)
    attack = "original" if read[0].dataset == "original" else "universally perturbed"
    photographs = read[0].results[0].photographs
    title = f"Noise on {attack} images ({photographs:,} photographs)"
    plotting.save(plotting.sweep_chart(read, undefended, title), pdf=pdf, png=png)
    best = max(rows, key=lambda row: row[4])
    return f"{title}: at best {100 * best[4]:.2f} % ({best[0]}, ±{best[2]:g}/255)"


if __name__ == "__main__":
    run(main)
