"""How attacked images lie in image space, in numbers."""

from advrob.findings import image_space
from advrob.job.script import run


def main(*, spaces: list[str], csv: str, markdown: str, note: str | None) -> str:
    """Join the analyses of several models to one table."""
    return image_space.write_table(
        [image_space.read(path) for path in spaces],
        csv_path=csv,
        markdown_path=markdown,
        note=note,
    )


if __name__ == "__main__":
    run(main)
