"""Join the shards of results."""

from advrob.files import store
from advrob.job.locks import remove_checkpoints
from advrob.job.script import run


def main(*, shards: list[str], wholes: list[str]) -> str:
    """Write the rows of the files ``shards``, in their order, into ``wholes``.

    The first of the shards belong to the first of the wholes, the next as many to the next.
    """
    size = len(shards) // len(wholes)
    for number, whole in enumerate(wholes):
        with store.join(whole, shards[number * size : (number + 1) * size]) as file:
            print(f"{whole}: {len(file['ids'])} images of {size} shards")
            if "reached" in file:
                file.attrs["hit_rate"] = file["reached"][:].mean()
        remove_checkpoints(whole)
    return f"{len(wholes)} gathered"


if __name__ == "__main__":
    run(main)
