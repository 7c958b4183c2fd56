"""``docs/configuration.md`` and the editors' schema are those of the code, and know every key."""

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest
import yaml
from configurations import default

from advrob.plan import document, editors, schema
from advrob.plan.kinds import SORTS, kinds
from conftest import ROOT

AGAIN = "make it again, as CONTRIBUTING.md says"
SCHEMA = ROOT / "workflow/schemas/config.schema.json"
FILES = [ROOT / "config.yaml", *sorted(ROOT.glob("presets/*.yaml"))]


@pytest.fixture(scope="module")
def written():
    return (ROOT / "docs/configuration.md").read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its level or above."""
    level = heading.count("#")
    rest = text[text.index(f"\n{heading}\n") + len(heading) + 2 :]
    return re.split(rf"\n#{{1,{level}}} ", rest)[0]


def test_the_documentation_is_that_of_the_schema_and_the_plug_ins(written):
    assert written == document.document(), AGAIN


@pytest.mark.parametrize(
    ("arguments", "file"), [([], "docs/configuration.md"), (["--schema"], SCHEMA)]
)
def test_the_command_prints_it(arguments, file):
    command = [sys.executable, "-m", "advrob.plan.document", *arguments]
    environment = {"PYTHONPATH": str(ROOT / "workflow/scripts"), "PYTHONUTF8": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, check=True)
    assert done.stdout.decode() == (ROOT / file).read_text(encoding="utf-8")


def test_every_key_is_described():
    for key in schema.keys(schema.load()):
        assert key.schema.get("description", "").endswith("."), key.path


@pytest.mark.parametrize(
    ("part", "sorts"),
    [
        ("## models", ["model", "lesson"]),
        ("## defences", ["defence"]),
        ("## perturbations", ["universal", "attack"]),
    ],
)
def test_every_plug_in_has_a_section_with_its_keys(written, part, sorts):
    """By another way than the document's: each sentence, in the section of its plug-in."""
    text = section(written, part)
    for sort in sorts:
        below = section(text, f"### {document.HEADINGS[sort]}")
        assert f"/{SORTS[sort].folder.split('/')[-1]}`" in below
        assert re.findall(r"^#### (.*)$", below, re.MULTILINE) == list(kinds(sort))
        for name, kind in kinds(sort).items():
            own = section(below, f"#### {name}")
            assert own.lstrip().startswith(kind.summary.replace("``", "`"))
            rows = {
                row.split(" | ")[0].strip("| `"): row
                for row in own.splitlines()
                if row.startswith("| `")
            }
            assert rows.keys() >= kind.keys.keys()
            for key, declared in kind.keys.items():
                assert declared["description"] in rows[key].replace("\\|", "|")
                default = "required" if key in kind.required else json.dumps(declared["default"])
                assert default in rows[key]


@pytest.mark.parametrize(
    "row",
    [
        "| `ratio` | a number above 0 and of at most 1 | required | The small image's side as a",
        "| `quality` | a whole number from 1 to 100 | `75` | Quality as in libjpeg, from",
        "| `minimum` | a number from -255 to 255 in units of 1/255 | required | Lower end of",
        '| `loss` | one of cross_entropy, margin, logits_ratio | `"cross_entropy"` | The loss',
        "| `channels` | a list of at least 1 item, each a whole number of at least 1 | `[32, 16]`",
        "| `tasks.coarse` | a number above 0 |  | The category above the class in WordNet's",
        "`variance` and `components` exclude each other.\n",
        "`minimum` and `maximum` must be in ascending order.\n",
        "| `images.test` | a mapping | required | The test images. `per_class` and `total` exclude",
        "| `shards` | a whole number from 1 to 100 | `1` | How many jobs share",
    ],
)
def test_rows_of_the_documentation(written, row):
    assert f"\n{row}" in written


def test_the_documentation_knows_every_key_of_the_default(written):
    """By another way through the schema."""

    def paths(part, path):
        for key, value in part.items():
            yield [*path, key]
            if isinstance(value, dict):
                yield from paths(value, [*path, key])

    for path in paths(default(), []):
        for prefix in (["models"], ["defences"], ["perturbations", "untargeted"]):
            if path[: len(prefix)] == prefix and len(path) > len(prefix):
                path[len(prefix)] = "<name>"
        name = ".".join(path)
        own = re.sub(r"^(defences\.<name>|.*\.train|perturbations\.\w+(\.<name>)?)\.", "", name)
        assert any(text in written for text in (f"| `{name}` |", f"## {name}\n", f"| `{own}` |"))


# For editors -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def editor():
    return jsonschema.Draft7Validator(json.loads(SCHEMA.read_text(encoding="utf-8")))


def test_the_schema_for_editors_is_current(editor):
    assert editor.schema == json.loads(json.dumps(editors.editor_schema())), AGAIN
    editor.check_schema(editor.schema)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_files_of_configuration_are_valid_to_editors(editor, file):
    text = file.read_text(encoding="utf-8")
    assert list(editor.iter_errors(yaml.safe_load(text))) == []
    (named,) = re.findall(r"^# yaml-language-server: \$schema=(\S+)$", text, re.MULTILINE)
    assert text.startswith("# yaml-language-server")
    assert Path(file.parent, named).resolve() == SCHEMA


@pytest.mark.parametrize(
    "text",
    [
        "{}",
        "seed: 3",
        # Null takes away what an earlier file gives.
        "seed: null",
        "defences: {pca: {variance: null, components: 20}}",
        "images: {test: {per_class: null, total: 9}}",
        "models: {standard: {base: null, train: null, kind: timm}}",
        "experiments: {preventive: null}",
        # What an earlier file may have made valid.
        "defences: {mine: {hidden: 3}}",
        "perturbations: {untargeted: {mine: {iterations: 3}}, universal: {overshoot: 1}}",
        "models: {mine: {train: {latent: 3}}}",
        "models: {gan: {base: x, train: {method: free}}}",
        "models: {timm: {base: x}}",
        "perturbations: {untargeted: {pgd: {levels: 256}}}",
        "experiments: {noise_magnitudes: [0, 1]}",
    ],
)
def test_what_editors_take(editor, text):
    assert list(editor.iter_errors(yaml.safe_load(text))) == []


@pytest.mark.parametrize(
    "text",
    [
        "sede: 3",
        "seed: -1",
        "defences: {pca: {hidden: 3}}",
        "defences: {pca: {variance: 0.9, components: 20}}",
        "defences: {pca: {variance: 2}}",
        "defences: {mine: {kind: pca, hidden: 3}}",
        "defences: {mine: {kind: pcaa}}",
        "defences: {mine: {hiden: 3}}",
        "defences: {Mine: {}}",
        "images: {fit: {per_class: 1, total: 9}}",
        "images: {archive: {sha256: x}}",
        "models: {m: {base: x, train: {method: gan, tasks: {}}}}",
        "models: {m: {base: x, train: {method: gam}}}",
        "models: {m: {base: x, kind: timm}}",
        "models: {m: {kind: timm, function: 'a:b'}}",
        "models: {timm: {function: 'a:b'}}",
        "perturbations: {universal: {method: deepfool, beta: 1}}",
        "perturbations: {universal: {radius: 0.05}}",
        "perturbations: {untargeted: {square: {step: 1}}}",
        "perturbations: {untargeted: {gan: {kind: pgd}}}",
        "perturbations: {untargeted: {pgd: {levels: 255}}}",
        "experiments: {noise_magnitudes: [0, 0.5]}",
        "experiments: {draws: many}",
    ],
)
def test_what_editors_refuse(editor, text):
    assert not editor.is_valid(yaml.safe_load(text))
