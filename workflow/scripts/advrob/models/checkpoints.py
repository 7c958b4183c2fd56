"""Files of a network's weights, as libraries and trainers save them.

A file may hold the weights under a key of their own, beside optimisers and counters, with the names
of wrappers before every tensor's, several times over, or with a wrapper's own tensors among them.
So the tensors are found by their names: where all that a network needs are, there its weights are.
"""

import argparse
import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

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
        found = list(_flat(self._read()))
        # Two names that differ in a wrapper only are two tensors.
        self.bare = len({_bare(name) for _, name, _ in found}) == len(found)
        self.tensors = {self._here(name): value for _, name, value in found}
        # The key that each is under, in the file.
        self._keys = {self._here(name): self._here(key) for key, name, _ in found}
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
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != sha256.lower():
                raise UserError(
                    f"models.{self.entry}.sha256: {self.path} has {found}, expected {sha256}. The "
                    "file is damaged or another one; download it again, or correct the checksum if "
                    "you trust the file."
                )

    def _read(self) -> object:
        try:
            if self.path.suffix == ".safetensors":
                return load_file(self.path)
            # Trainers keep their arguments beside the weights; a namespace runs no code.
            with torch.serialization.safe_globals([argparse.Namespace]):
                return torch.load(self.path, map_location="cpu", weights_only=True)
        except PermissionError as error:
            raise UserError(
                f"models.{self.entry}.weights: {self.path} cannot be read: you have no permission "
                "to. Ask its owner, or name a copy of your own."
            ) from error
        except Exception as error:
            raise UserError(
                f"models.{self.entry}.weights: {self.path} cannot be read as tensors ({error}). "
                "Expected a .safetensors file, or a PyTorch file with tensors only; files that run "
                "code on loading are refused."
            ) from error

    def _below(self, key: str) -> None:
        beginning = self._here(key.strip(".")) + "."
        below = {name: value for name, value in self.tensors.items() if name.startswith(beginning)}
        if not below:
            first = dict.fromkeys(name.partition(".")[0] for name in self.tensors)
            raise UserError(
                f"models.{self.entry}.key: {self.path} has nothing below '{key}'. Expected one of "
                f"its keys: {_listed(list(first), 8)}."
            )
        self.tensors = below

    def _here(self, name: str) -> str:
        return _bare(name) if self.bare else name

    def beginnings(self, names: Iterable[str]) -> list[str]:
        """What stands before the tensors of these names, wherever in the file all of them are."""
        needed = [self._here(name) for name in names if not name.endswith(COUNTER)]
        # A long name is in few places.
        anchor = max(needed, key=lambda name: (name.count("."), len(name)), default="")
        before = [
            name.removesuffix(anchor)
            for name in self.tensors
            if anchor and f".{name}".endswith(f".{anchor}")
        ]
        return [start for start in before if all(start + name in self.tensors for name in needed)]

    def fits(self, network: nn.Module) -> bool:
        """Whether all that a network needs is here, under its names and in its shapes."""
        own = {self._here(name): value.shape for name, value in network.state_dict().items()}
        return any(
            all(
                self.tensors[start + name].shape == shape
                for name, shape in own.items()
                if start + name in self.tensors
            )
            for start in self.beginnings(own)
        )

    def largest(self) -> dict[str, Tensor]:
        """The tensors under the key that has most of them, without what stands before it."""
        counts = Counter(self._keys[name] for name in self.tensors)
        key = counts.most_common(1)[0][0]
        start = f"{key}." if key else ""
        return {
            name.removeprefix(start): value
            for name, value in self.tensors.items()
            if self._keys[name] == key
        }

    def select(self, names: Iterable[str], *, spare: Sequence[str] = ()) -> dict[str, Tensor]:
        """The tensors of these names, without what stands before them in the file.

        Where there are averages over training and plain weights, the averages.

        Args:
            names: all that a network has.
            spare: beginnings of names that the file may have beside them.

        Raises:
            UserError: some are missing, others beside them belong to another network, or the file
                has them several times with different values.
        """
        here = {name: self._here(name) for name in names}
        places = self.beginnings(here)
        if not places:
            raise self._missing(list(here.values()))
        start = self._choose(places, list(here.values()))
        own = {start + name for name in here.values()}
        beside = [
            name.removeprefix(start)
            for name in self.tensors
            if name.startswith(start)
            and name not in own
            and not any(name.startswith(place) for place in places if place > start)
        ]
        self._refuse_others(start, [name for name in beside if not name.startswith(tuple(spare))])
        return {
            name: self.tensors[start + found]
            for name, found in here.items()
            if start + found in self.tensors
        }

    def fill(self, network: nn.Module, *, spare: Sequence[str] = ()) -> None:
        """Load the weights into a network; the arguments are those of `select`.

        Raises:
            UserError: they are those of another architecture.
        """
        tensors = self.select(network.state_dict(), spare=spare)
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
        """What says that the weights are of another architecture."""
        return UserError(
            f"models.{self.entry}.weights: {self.path} holds the tensors of another architecture: "
            f"{reason}. Give the weights that belong to '{self.entry}', or correct its kind, "
            "architecture or arguments."
        )

    def _choose(self, places: list[str], names: list[str]) -> str:
        distinct: list[str] = []
        for place in places:
            if not any(self._equal(place, other, names) for other in distinct):
                distinct.append(place)
        if len(distinct) == 1:
            return distinct[0]
        keys = [place.strip(".") for place in distinct]
        averaged = [place for place in distinct if AVERAGED.search(place)]
        if len(averaged) != 1:
            raise UserError(
                f"models.{self.entry}.weights: {self.path} holds such weights more than once: "
                f"{_listed(keys, 8)}. Name the one that you mean as models.{self.entry}.key."
            )
        (taken,) = averaged
        others = [key for key, place in zip(keys, distinct, strict=True) if place != taken]
        print(
            f"models.{self.entry}: of the weights in {self.path} the averaged ones are taken "
            f"({taken.strip('.')}). For the others set models.{self.entry}.key to "
            f"{_listed(others, 8)}."
        )
        return taken

    def _equal(self, one: str, other: str, names: list[str]) -> bool:
        return all(
            torch.equal(self.tensors[one + name], self.tensors[other + name])
            for name in names
            if not name.endswith(COUNTER)
        )

    def _missing(self, names: list[str]) -> UserError:
        needed = [name for name in names if not name.endswith(COUNTER)]
        held = {name for name in self.tensors if not name.endswith(COUNTER)}
        missing = [name for name in needed if not any(f".{n}".endswith(f".{name}") for n in held)]
        if missing:
            reason = f"{len(missing)} of {len(needed)} tensors are missing ({_listed(missing)})"
        else:
            reason = "its tensors are not all below one key"
        return self.other_architecture(f"{reason}; the file has {_listed(sorted(held))}")

    def _refuse_others(self, start: str, beside: list[str]) -> None:
        large = [name for name in beside if self.tensors[start + name].numel() > SMALL]
        if large:
            raise self.other_architecture(
                f"{len(large)} of its tensors have no place in the network ({_listed(large)})"
            )
        layer = [name for name in beside if re.search(r"(mean|std|sigma)$", name)]
        if layer:
            print(
                f"models.{self.entry}: {self.path} has a layer that normalises images "
                f"({_listed(layer)}). It is left out: models.{self.entry}.normalisation counts."
            )


def _flat(found: object, before: str = "") -> Iterator[tuple[str, str, Tensor]]:
    """The key, the full name and the tensor of each tensor in mappings of mappings."""
    if isinstance(found, Mapping):
        for key, value in found.items():
            name = f"{before}.{key}" if before else str(key)
            if isinstance(value, Tensor):
                yield before, name, value
            else:
                yield from _flat(value, name)


def _bare(name: str) -> str:
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def _listed(names: Sequence[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
