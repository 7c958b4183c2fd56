"""Files of a network's weights, as libraries and trainers save them.

A file may hold the weights under a key of their own, beside optimisers and counters, with the names
of wrappers before every tensor's, several times over, or with a wrapper's own tensors among them.
So tensors are found by their names: the weights are where all that a network needs stand together.
"""

import argparse
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from advrob.errors import UserError

# Wrappers that PyTorch puts anywhere into the names of tensors.
WRAPPERS = frozenset({"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
# A key under which weights are averages over training.
AVERAGED = re.compile(r"(^|[._])(ema|averaged?|swa)([._]|$)")
# Numbers in the largest tensor that a wrapper may have of its own: a mean by channel, a counter.
SMALL = 16
# Not every version of PyTorch saved these, and prediction does not need them.
COUNTER = "num_batches_tracked"
# The functions that scalars and arrays of NumPy are saved with.
_NUMPY: list[Any] = [np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]]
# What trainers keep beside the weights, their arguments and best scores: none of it runs code.
_HARMLESS: list[Any] = [
    argparse.Namespace,
    np.ndarray,
    np.dtype,
    *(type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"),
    *(
        (function, f"numpy.{package}.multiarray.{function.__name__}")
        for function in _NUMPY
        for package in ("core", "_core")
    ),
]


class Checkpoint:
    """The tensors in a file of weights.

    Args:
        entry: the name of the configuration entry, for messages.
        path: a .safetensors file, or a pickle that holds nothing but tensors and plain values.
        sha256: the checksum that the file must have; any without one.
        key: the beginning of the names to look below, ``state_dict`` or ``model.module`` for
            example; the whole file without one.

    Attributes:
        tensors: by full name: the keys on the way to a tensor and its own name, joined by dots,
            without `WRAPPERS`.

    Raises:
        UserError: there is no such file, it has another checksum, it cannot be read, or nothing is
            below the key.
    """

    def __init__(
        self, entry: str, path: Path, *, sha256: str | None = None, key: str | None = None
    ) -> None:
        self.entry = entry
        self.path = path
        self._check(sha256)
        content = self._read()
        try:
            entries = list(_flat(content))
        except RecursionError as error:
            raise UserError(
                f"models.{entry}.weights: {path} holds mappings in mappings without end. Expected "
                "tensors by name, as a network's state_dict() gives them."
            ) from error
        # Names that differ only in a wrapper are kept apart.
        self.bare = len({_bare(name) for _, name, _ in entries}) == len(entries)
        self.tensors = {self._stored_name(name): value for _, name, value in entries}
        # The key that each is under, in the file.
        self._keys = {self._stored_name(name): self._stored_name(key) for key, name, _ in entries}
        if not self.tensors:
            raise UserError(
                f"models.{entry}.weights: {path} holds no tensors. Expected tensors by name, as a "
                "network's state_dict() gives them."
            )
        if key is not None:
            self._below(key)

    def _check(self, sha256: str | None) -> None:
        if not self.path.is_file():
            raise UserError(
                f"models.{self.entry}.weights: found no file {self.path}. Expected the network's "
                "weights there; correct the path or download them."
            )
        if sha256 is not None:
            with self.path.open("rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            if digest != sha256.lower():
                raise UserError(
                    f"models.{self.entry}.sha256: {self.path} has {digest}, expected {sha256}. The "
                    "file is damaged, or it is another one. Download it again, or correct the "
                    "checksum if you trust the file."
                )

    def _read(self) -> object:
        try:
            if self.path.suffix == ".safetensors":
                return load_file(self.path)
            with torch.serialization.safe_globals(_HARMLESS):
                return torch.load(self.path, map_location="cpu", weights_only=True)
        except PermissionError as error:
            raise UserError(
                f"models.{self.entry}.weights: {self.path} cannot be read: you have no permission. "
                "Ask its owner, or name a copy of your own."
            ) from error
        except Exception as error:
            raise UserError(
                f"models.{self.entry}.weights: {self.path} cannot be read as tensors "
                f"({why_unreadable(error)}). "
                "Expected a .safetensors file, or a PyTorch file with tensors only; files that run "
                "code on loading are refused."
            ) from error

    def _below(self, key: str) -> None:
        prefix = self._stored_name(key.strip(".")) + "."
        selected = {name: value for name, value in self.tensors.items() if name.startswith(prefix)}
        if not selected:
            top_keys = dict.fromkeys(name.partition(".")[0] for name in self.tensors)
            raise UserError(
                f"models.{self.entry}.key: {self.path} has nothing below '{key}'. Expected one of "
                f"its keys: {_listed(list(top_keys), 8)}."
            )
        self.tensors = selected

    def _stored_name(self, name: str) -> str:
        return _bare(name) if self.bare else name

    def prefixes_of(self, names: Iterable[str]) -> list[str]:
        """The prefixes under each of which the file has all tensors of these names."""
        needed = [self._stored_name(name) for name in names if not name.endswith(COUNTER)]
        # A long name ends few others.
        anchor = max(needed, key=lambda name: (name.count("."), len(name)), default="")
        prefixes = [
            name.removesuffix(anchor)
            for name in self.tensors
            if anchor and f".{name}".endswith(f".{anchor}")
        ]
        return [
            prefix for prefix in prefixes if all(prefix + name in self.tensors for name in needed)
        ]

    def fits(self, network: nn.Module) -> bool:
        """Whether all that a network needs is here, under its names and in its shapes."""
        shapes = {
            self._stored_name(name): value.shape for name, value in network.state_dict().items()
        }
        return any(
            all(
                self.tensors[prefix + name].shape == shape
                for name, shape in shapes.items()
                if prefix + name in self.tensors
            )
            for prefix in self.prefixes_of(shapes)
        )

    def largest(self) -> dict[str, Tensor]:
        """The tensors under the key that has most of them, without that key."""
        counts = Counter(self._keys[name] for name in self.tensors)
        key = counts.most_common(1)[0][0]
        prefix = f"{key}." if key else ""
        return {
            name.removeprefix(prefix): value
            for name, value in self.tensors.items()
            if self._keys[name] == key
        }

    def select(self, names: Iterable[str], *, ignored: Sequence[str] = ()) -> dict[str, Tensor]:
        """The tensors of these names, without their prefix in the file.

        Where there are both averages over training and plain weights, it takes the averages.

        Args:
            names: all that a network has.
            ignored: prefixes of further names that the file may have.

        Raises:
            UserError: some are missing, others beside them belong to another network, or the file
                has them several times with different values.
        """
        stored_names = {name: self._stored_name(name) for name in names}
        prefixes = self.prefixes_of(stored_names)
        if not prefixes:
            raise self._missing_error(list(stored_names.values()))
        prefix = self._choose(prefixes, list(stored_names.values()))
        selected = {prefix + name for name in stored_names.values()}
        extra = [
            name.removeprefix(prefix)
            for name in self.tensors
            if name.startswith(prefix)
            and name not in selected
            and not any(name.startswith(other) for other in prefixes if other > prefix)
        ]
        self._refuse_others(prefix, [name for name in extra if not name.startswith(tuple(ignored))])
        return {
            name: self.tensors[prefix + stored_name]
            for name, stored_name in stored_names.items()
            if prefix + stored_name in self.tensors
        }

    def fill(self, network: nn.Module, *, ignored: Sequence[str] = ()) -> None:
        """Load the weights into a network; the arguments are those of `select`.

        Raises:
            UserError: they are those of another architecture.
        """
        tensors = self.select(network.state_dict(), ignored=ignored)
        with self.architecture():
            network.load_state_dict(tensors)

    @contextmanager
    def architecture(self) -> Iterator[None]:
        """Explain what goes wrong inside as weights of another architecture."""
        try:
            yield
        except (AssertionError, AttributeError, KeyError, RuntimeError, ValueError) as error:
            raise self.other_architecture(" ".join(str(error).split())[:300]) from error

    def other_architecture(self, reason: str) -> UserError:
        """The error of weights of another architecture."""
        return UserError(
            f"models.{self.entry}.weights: {self.path} holds the tensors of another architecture: "
            f"{reason}. Give the weights that belong to '{self.entry}', or correct its kind, "
            "architecture or arguments."
        )

    def _choose(self, prefixes: list[str], names: list[str]) -> str:
        distinct: list[str] = []
        for prefix in prefixes:
            if not any(self._equal(prefix, other, names) for other in distinct):
                distinct.append(prefix)
        if len(distinct) == 1:
            return distinct[0]
        keys = [prefix.strip(".") for prefix in distinct]
        averaged = [prefix for prefix in distinct if AVERAGED.search(prefix)]
        if len(averaged) != 1:
            raise UserError(
                f"models.{self.entry}.weights: {self.path} holds several sets of such weights: "
                f"{_listed(keys, 8)}. Name the one to use as models.{self.entry}.key."
            )
        (average,) = averaged
        other_keys = [key for key, prefix in zip(keys, distinct, strict=True) if prefix != average]
        print(
            f"models.{self.entry}: of the weights in {self.path} the averaged ones are taken "
            f"({average.strip('.')}). For the others set models.{self.entry}.key to "
            f"{_listed(other_keys, 8)}."
        )
        return average

    def _equal(self, first: str, second: str, names: list[str]) -> bool:
        return all(
            torch.equal(self.tensors[first + name], self.tensors[second + name])
            for name in names
            if not name.endswith(COUNTER)
        )

    def _missing_error(self, names: list[str]) -> UserError:
        needed = [name for name in names if not name.endswith(COUNTER)]
        held = {name for name in self.tensors if not name.endswith(COUNTER)}
        missing = [name for name in needed if not any(f".{n}".endswith(f".{name}") for n in held)]
        if missing:
            reason = f"{len(missing)} of {len(needed)} tensors are missing ({_listed(missing)})"
        else:
            reason = "its tensors are not all below one key"
        return self.other_architecture(f"{reason}; the file has {_listed(sorted(held))}")

    def _refuse_others(self, prefix: str, extra: list[str]) -> None:
        large = [name for name in extra if self.tensors[prefix + name].numel() > SMALL]
        if large:
            raise self.other_architecture(
                f"{len(large)} of its tensors have no place in the network ({_listed(large)})"
            )
        layer = [name for name in extra if re.search(r"(mean|std|sigma)$", name)]
        if layer:
            print(
                f"models.{self.entry}: {self.path} has a layer that normalises images "
                f"({_listed(layer)}). It is left out: models.{self.entry}.normalisation counts."
            )


def _flat(content: object, key: str = "") -> Iterator[tuple[str, str, Tensor]]:
    """The key, the full name and the tensor of each tensor in mappings of mappings."""
    if isinstance(content, Mapping):
        for part, value in content.items():
            name = f"{key}.{part}" if key else str(part)
            if isinstance(value, Tensor):
                yield key, name, value
            else:
                yield from _flat(value, name)


def _bare(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _listed(names: Sequence[str], limit: int = 3) -> str:
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def why_unreadable(error: Exception) -> str:
    """Why a file cannot be read, without PyTorch's advice to let it run code."""
    text = str(error)
    if isinstance(error, EOFError):
        return "it is empty or cut short"
    if match := re.search(r"GLOBAL (\S+)", text):
        return f"it holds an object of type {match[1]}; save the network's state_dict() alone"
    if "TorchScript" in text:
        return "it is a TorchScript archive; load it by a function of your own, with kind: import"
    if "weights_only" in text:
        return "it is damaged or was not saved by torch.save"
    return " ".join(text.split())[:300]
