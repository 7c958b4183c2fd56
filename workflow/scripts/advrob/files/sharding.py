"""The part of the images that is one job's."""

from advrob.errors import UserError

# The name of a shard that is all there is; Snakemake calls the others 2-of-3 and the like.
WHOLE = "1-of-1"


def part(shard: str, n: int, batch_size: int = 1, *, may_be_empty: bool = False) -> slice:
    """Which of ``n`` images belong to a shard.

    Shards are cut between batches, and batches begin at the same images however many shards there
    are. Whatever depends on nothing but the batch is therefore the same, too.

    Args:
        shard: its name, ``{number}-of-{shards}``, counted from 1.
        n: how many images there are in all.
        batch_size: images in a batch.
        may_be_empty: whether a shard may have no image, where there are fewer batches than shards.

    Raises:
        UserError: there are fewer batches than shards, and none may be empty.
    """
    number, shards = map(int, shard.split("-of-"))
    batches = -(-n // batch_size)
    if shards > batches and not may_be_empty:
        raise UserError(
            f"shards: is {shards}, but {n} images in batches of {batch_size} make only {batches} "
            f"batches. Set shards to at most {batches}."
        )
    first, end = (min((batches * cut // shards) * batch_size, n) for cut in (number - 1, number))
    return slice(first, end)
