"""Download one file and keep it only with the right SHA-256."""

from advrob.files.download import fetch
from advrob.job.script import run


def main(*, url: str, sha256: str, file: str) -> str:
    """Download ``url`` to ``file``."""
    return f"{fetch(url, file, sha256)} bytes"


if __name__ == "__main__":
    run(main)
