"""One file from a web server, kept only if it is the right one."""

import hashlib
import http.client
import urllib.error

from advrob.errors import UserError
from advrob.files.atomic import replacing
from advrob.job.transfer import download


def fetch(url: str, file: str, sha256: str) -> int:
    """Download ``url`` to ``file``, and keep it only with the right SHA-256.

    Returns:
        How many bytes it has.

    Raises:
        UserError: the server cannot be reached, is too slow, or sends something else.
    """
    by_hand = f"Or fetch it on another machine and place it as {file}; its SHA-256 is {sha256}."
    digest, size, start = hashlib.sha256(), 0, b""
    with replacing(file) as temporary, temporary.open("wb") as target:
        try:
            for block in download(url):
                start = start or block[:100]
                digest.update(block)
                target.write(block)
                size += len(block)
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
                f"{url}: answered with {kind}: {size} bytes of SHA-256 {digest.hexdigest()}, "
                f"expected {sha256}. Check the address, and run the same command again. {by_hand}"
            )
    return size
