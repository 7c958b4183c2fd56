"""Download one file and keep it only with the right SHA-256."""

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import IO

from advrob.errors import UserError
from advrob.files import store
from advrob.job.progress import progress
from advrob.job.script import run

_BLOCK = 1 << 20
_TIMEOUT = 60


def main(*, url: str, sha256: str, file: str) -> str:
    """Download ``url`` to ``file``.

    Raises:
        UserError: the server cannot be reached, or sends something else.
    """
    by_hand = f"Or fetch it on another machine and place it as {file}; its SHA-256 is {sha256}."
    digest, received, start = hashlib.sha256(), 0, b""
    with store.replacing(file) as temporary, temporary.open("wb") as target:
        try:
            with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer:
                blocks = -(-int(answer.headers.get("Content-Length") or 0) // _BLOCK)
                for block in progress(_blocks(answer), "MiB", blocks):
                    start = start or block[:100]
                    digest.update(block)
                    target.write(block)
                    received += len(block)
        except (
            urllib.error.URLError,
            http.client.HTTPException,
            ConnectionError,
            TimeoutError,
            ValueError,  # no address at all
        ) as error:
            raise UserError(
                f"{url}: cannot be downloaded ({error}). Check the address and the network, and "
                f"run the same command again. {by_hand}"
            ) from error
        if digest.hexdigest() != sha256.lower():
            kind = (
                "a web page" if start.lstrip().startswith(b"<") else "another or a truncated file"
            )
            raise UserError(
                f"{url}: answered with {kind}: {received} bytes of SHA-256 {digest.hexdigest()}, "
                f"expected {sha256}. Check the address, and run the same command again. {by_hand}"
            )
    return f"{received} bytes"


def _blocks(answer: IO[bytes]) -> Iterator[bytes]:
    while block := answer.read(_BLOCK):
        yield block


if __name__ == "__main__":
    run(main)
