"""Files of a network's weights, as libraries and trainers save them."""

import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from advrob.errors import UserError

# Keys of a file of weights under which the tensors may be, and what trainers and wrappers put
# before every tensor's name.
NESTED, PREFIXES = ("state_dict", "model"), ("module.", "model.")


class Checkpoint:
    """The tensors in a file of weights, by name and in the file's order.

    Args:
        entry: the name of the configuration entry, for messages.
        path: a .safetensors file, or a pickle that holds nothing but tensors.
        sha256: the checksum that the file must have; any without one.

    Raises:
        UserError: there is no such file, it has another checksum, or it cannot be read.
    """

    def __init__(self, entry: str, path: Path, *, sha256: str | None = None) -> None:
        self.entry = entry
        self.path = path
        self._check(sha256)
        self.tensors = self._read()

    def _check(self, sha256: str | None) -> None:
        if not self.path.is_file():
            raise UserError(
                f"models.{self.entry}.weights: found no file {self.path}. Expected the network's "
                "weights there; correct the path or download them."
            )
        if sha256 is not None:
            with self.path.open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != sha256.lower():
                raise UserError(
                    f"models.{self.entry}.sha256: {self.path} has {found}, expected {sha256}. The "
                    "file is damaged or another one; download it again, or correct the checksum if "
                    "you trust the file."
                )

    def _read(self) -> dict[str, Tensor]:
        try:
            if self.path.suffix == ".safetensors":
                return load_file(self.path)
            tensors = torch.load(self.path, map_location="cpu", weights_only=True)
        except Exception as error:
            raise UserError(
                f"models.{self.entry}.weights: {self.path} cannot be read as tensors ({error}). "
                "Expected a .safetensors file, or a PyTorch file with tensors only; files that run "
                "code on loading are refused."
            ) from error
        if isinstance(tensors, Mapping):
            tensors = next((tensors[key] for key in NESTED if key in tensors), tensors)
        if not isinstance(tensors, Mapping):
            raise UserError(
                f"models.{self.entry}.weights: {self.path} holds an object of type "
                f"{type(tensors).__name__}. Expected tensors by name, as a network's state_dict() "
                "gives them."
            )
        return dict(tensors)

    def fill(self, network: nn.Module) -> None:
        """Load the weights into a network, whatever a trainer put before the tensors' names.

        Raises:
            UserError: they are those of another architecture.
        """
        tensors, own = self.tensors, network.state_dict()
        for prefix in PREFIXES:
            if all(key.startswith(prefix) for key in tensors) and not tensors.keys() & own.keys():
                tensors = {key.removeprefix(prefix): value for key, value in tensors.items()}
        with self.architecture():
            network.load_state_dict(tensors)

    @contextmanager
    def architecture(self) -> Iterator[None]:
        """Explain what goes wrong inside as weights of another architecture."""
        try:
            yield
        except (KeyError, ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:300]
            raise UserError(
                f"models.{self.entry}.weights: {self.path} holds the tensors of another "
                f"architecture: {reason}. Give the weights that belong to '{self.entry}', or "
                "correct its kind or architecture."
            ) from error
