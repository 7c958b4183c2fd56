"""One's own photographs: a folder and a table, folders of classes, other programs' files."""

import zipfile
from pathlib import Path
from typing import Any

import pytest

from advrob.errors import UserError
from advrob.files import store
from advrob.images import labels, load
from advrob.images.packages import SAMPLES
from photographs import draw, photograph

NAMES = {"tench": 0, "English springer": 217}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    root.mkdir()
    for i in range(6):
        (root / f"{i}.jpg").write_bytes(photograph(i))
    lines = [f"{i}.jpg,{0 if i < 3 else 217}\n" for i in range(6)]
    (root / "labels.csv").write_text("file,label\n" + "".join(lines))
    return root


def source(path: Path) -> str:
    with store.read(path, "images/1") as file:
        return str(file.attrs["source"])


@pytest.mark.parametrize("fit", [{}, {"table": "labels.csv"}])
def test_the_rest_of_the_table_is_learned_from(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fit: dict[str, Any]
) -> None:
    test = {"table": "labels.csv", "per_class": 2}
    drawn = draw(folder, tmp_path, layout="table", test=test, fit=fit)
    assert (len(drawn["test"]), len(drawn["fit"])) == (4, 2)
    assert not set(drawn["test"]) & set(drawn["fit"])
    expected = "the rest of table photos, labels.csv"
    assert f"2 photographs to fit from: {expected}\n" in capsys.readouterr().out
    assert source(tmp_path / "fit.h5") == expected


@pytest.mark.parametrize("fit", [{}, {"table": "labels.csv"}, {"packages": SAMPLES[2:3]}])
def test_packages_are_learned_from_where_nothing_else_is_left(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], fit: dict[str, Any]
) -> None:
    drawn = draw(folder, tmp_path, layout="table", test={"table": "labels.csv"}, fit=fit)
    assert len(drawn["test"]) == 6
    assert "sklearn/datasets/images/china.jpg" in drawn["fit"]
    assert "photographs to fit from: packages " in capsys.readouterr().out


def test_a_folder_without_labels_is_learned_from(folder: Path, tmp_path: Path) -> None:
    for name in ("more/a.jpg", "more/deep/b.jfif", "more/.hidden/c.jpg", "more/notes.txt"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(photograph(len(name)))
    (folder / "more/deep/up").symlink_to("..")
    (folder / "more/known.jpg").write_bytes((folder / "0.jpg").read_bytes())
    drawn = draw(
        folder, tmp_path, layout="table", test={"table": "labels.csv"}, fit={"folder": "more"}
    )
    assert sorted(drawn["fit"]) == ["more/a.jpg", "more/deep/b.jfif"]
    assert source(tmp_path / "fit.h5") == "folder more"
    with store.read(tmp_path / "fit.h5", "images/1") as file:
        assert set(file["labels"][:]) == {labels.UNLABELLED}
    with pytest.raises(UserError, match=r"nowhere: is not a folder.*images\.fit\.folder"):
        draw(
            folder,
            tmp_path,
            layout="table",
            test={"table": "labels.csv"},
            fit={"folder": "nowhere"},
        )


@pytest.mark.parametrize(
    "text",
    [
        "file;label\n0.jpg;0\n",
        "file\tlabel\n0.jpg\t0\n",
        "File,LABEL\n0.jpg,0\n",
        "file, label\n0.jpg, 0\n",
        "\ufefffile,label\r\n0.jpg,0\r\n",
        ",file,label\n7,0.jpg,tench\n",
        "label,file\nn01440764,./0.jpg\n",
        '"file";"label"\n"0.jpg";"0"\n',
        "file,label\n.\\0.jpg,0\n",
        "file,label\n0.jpg,Tinca tinca\n",
        "\n\nfile,label\n\n0.jpg,0\n",
    ],
)
def test_tables_as_programs_write_them(folder: Path, text: str) -> None:
    (folder / "t.csv").write_text(text, newline="")
    _, classes, ids = load("table", str(folder), size=16, table="t.csv")
    assert (classes.tolist(), ids) == ([0], ["0.jpg"])


@pytest.mark.parametrize("form", ["name", "index", "id", "longer"])
def test_folders_of_classes(tmp_path: Path, form: str) -> None:
    seed = 0
    for name, label in NAMES.items():
        wordnet_id = labels.wordnet_ids()[label]
        called = {
            "name": name,
            "index": str(label),
            "id": wordnet_id,
            "longer": f"{wordnet_id}-{name}",
        }[form]
        for suffix in ("jpg", "jfif", "JPE", "Jpeg"):
            path = tmp_path / "tree/val" / called / f"a.{suffix}"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(photograph(seed := seed + 1))
    (tmp_path / "tree/val/@eaDir").mkdir()
    _, classes, _ = load("tree", str(tmp_path / "tree"), size=16)
    assert sorted(classes.tolist()) == [0] * 4 + [217] * 4
    _, classes, ids = load("tree", str(tmp_path / "tree/val"), size=16, splits=["."])
    assert sorted(classes.tolist()) == [0] * 4 + [217] * 4
    assert not any(name.startswith(".") for name in ids)


@pytest.mark.parametrize("name", ["crane", "maillot"])
def test_a_name_that_two_classes_share(name: str) -> None:
    with pytest.raises(UserError, match=rf"'{name}' is a name of 2 classes .* n\d+ or n\d+\."):
        labels.parse(name)


@pytest.mark.parametrize(
    ("text", "label"),
    [("english_springer", 217), ("TENCH", 0), ("tank suit", 639), ("great-white-shark", 2)],
)
def test_names_of_classes(text: str, label: int) -> None:
    assert labels.parse(text) == label


def test_an_unknown_name_gets_the_nearest() -> None:
    with pytest.raises(UserError, match="the nearest name is 'english springer'"):
        labels.parse("English springers")


def test_a_flat_folder(folder: Path, tmp_path: Path) -> None:
    root = folder.rename(tmp_path / "val").parent
    with pytest.raises(UserError, match=r"val/\d\.jpg has no label.*in a table.*ground truth"):
        load("tree", str(root), size=16)
    lines = [f"{i}.jpg {0 if i < 3 else 217}\n" for i in range(6)]
    (root / "val.txt").write_text("".join(lines))
    _, classes, _ = load("imagenet", str(root), size=16)
    assert sorted(classes.tolist()) == [0] * 3 + [217] * 3


def test_an_archive_without_folders_of_classes(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in folder.glob("*.jpg"):
            archive.write(file, f"val/{file.name}")
    with pytest.raises(UserError, match=r"photographs in 'val', but no folders of classes"):
        load("tree", str(tmp_path / "a.zip"), size=16)


def test_an_archive_with_windows_names(folder: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for file in folder.glob("*.jpg"):
            archive.writestr(f"set\\val\\tench\\{file.name}", file.read_bytes())
    _, classes, _ = load("tree", str(tmp_path / "a.zip"), size=16)
    assert classes.tolist() == [0] * 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\n0.jpg;0\n", r"line 2: has fewer columns than the first line"),
        ("\nfile,label\n0.jpg,x\n", r"line 3: 'x' is not a class"),
    ],
)
def test_what_is_wrong_in_a_table(folder: Path, text: str, message: str) -> None:
    (folder / "t.csv").write_text(text)
    with pytest.raises(UserError, match=message):
        load("table", str(folder), size=16, table="t.csv")


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        ({"folder": "empty"}, r"photos/empty: found no photograph in this folder"),
        ({"table": "lost.csv"}, r"lost\.jpg: cannot be read \(No such file"),
    ],
)
def test_mistakes_in_the_images_to_fit_are_said_before_any_is_written(
    folder: Path, tmp_path: Path, fit: dict[str, str], message: str
) -> None:
    (folder / "empty").mkdir()
    (folder / "lost.csv").write_text("file,label\nlost.jpg,0\n")
    with pytest.raises(UserError, match=message):
        draw(folder, tmp_path, layout="table", test={"table": "labels.csv"}, fit=fit)
    assert not list(tmp_path.glob("*.h5"))


def test_packages_are_learned_from_where_a_tree_has_nothing_left(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "val").mkdir()
    (folder / "val/tench").mkdir()
    (folder / "0.jpg").rename(folder / "val/tench/0.jpg")
    drawn = draw(folder, tmp_path, fit={})
    assert drawn["test"] == ["val/tench/0.jpg"]
    assert "sklearn/datasets/images/china.jpg" in drawn["fit"]
    assert "photographs to fit from: packages " in capsys.readouterr().out
