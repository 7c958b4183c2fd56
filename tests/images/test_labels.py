"""Labels against torchvision's own list of the 1000 classes."""

import pytest
from torchvision.models._meta import _IMAGENET_CATEGORIES

from advrob.errors import UserError
from advrob.images import labels


def test_order_and_ids() -> None:
    ids = labels.wordnet_ids()
    assert len(ids) == len(set(ids)) == 1000
    assert ids == sorted(ids)
    indices = {
        "n01440764": 0,
        "n02102040": 217,
        "n02979186": 482,
        "n03394916": 566,
        "n03888257": 701,
    }
    assert {wordnet_id: labels.index(wordnet_id) for wordnet_id in indices} == indices
    assert [labels.index(wordnet_id) for wordnet_id in ids] == list(range(1000))


def test_names_agree_with_another_list() -> None:
    # Lists differ in spelling and in which lemma they take, hardly ever in the first word.
    same = sum(
        a.lower() == b.lower() for a, b in zip(labels.names(), _IMAGENET_CATEGORIES, strict=True)
    )
    assert same > 900
    assert labels.names()[482] == "cassette player"
    assert labels.classes()[0] == "n01440764 tench"


@pytest.mark.parametrize(("text", "label"), [("0", 0), (" 999 ", 999), ("n03888257", 701)])
def test_parse(text: str, label: int) -> None:
    assert labels.parse(text) == label


@pytest.mark.parametrize("text", ["1000", "-1", "", "tenches", "n01440765", "9" * 5000, "0.0"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(UserError, match=r"ImageNet-1k\. Expected"):
        labels.parse(text)


def test_unknown_id_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match=r"'n0144076' .* such as n01440764"):
        labels.index("n0144076")
