"""Join the shards of a result."""

from advrob import job, store


def main(*, shards: list[str], whole: str) -> str:
    """Write the rows of all ``shards``, in their order, into the file ``whole``."""
    with store.join(whole, shards) as file:
        rows = len(file["ids"])
        if "reached" in file:
            file.attrs["hit_rate"] = file["reached"][:].mean()
    job.forget(whole)
    return f"{rows} images of {len(shards)} shards"


if __name__ == "__main__":
    job.run(main)
