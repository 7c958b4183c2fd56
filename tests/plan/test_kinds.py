"""Plug-ins are read from their source, and what cannot be one is refused in a sentence."""

import importlib
import inspect
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from advrob.plan import kinds
from advrob.plan.errors import ConfigurationError
from advrob.plan.schema import _validator_class, combined
from examples import example

ALL = [(sort, name) for sort in kinds.SORTS for name in kinds.kinds(sort)]


def read(folder: Path, source: str, sort: str = "defence") -> kinds.Kind | None:
    file = folder / "mine.py"
    file.write_text(source, encoding="utf-8")
    return kinds.read(file, sort)


def keyed(folder: Path, parameter: str) -> dict[str, Any]:
    """The schema of the one key ``p`` of a defence."""
    kind = read(folder, f"class A(Defence):\n    def __init__(self, *, {parameter}): ...\n")
    assert kind is not None
    return dict(kind.keys["p"])


def refusal(folder: Path, source: str, sort: str = "defence") -> str:
    with pytest.raises(ConfigurationError) as error:
        read(folder, source, sort)
    message = str(error.value)
    assert "mine.py" in message
    assert "Expected" in message or "Correct" in message
    return message


def test_a_kind_is_what_its_file_says(tmp_path):
    kind = read(
        tmp_path,
        '''"""A file."""
from typing import Annotated
from advrob.defences import Defence


def helper(images): ...


class Part:
    """No plug-in."""


class Mine(Defence):
    """What it is.

    More of it.

    Args:
        strength: how much of
            it, in ``units``.
        other: something.

    Raises:
        nothing: at all.
    """

    stochastic = True
    groups: tuple = (("strength", "other"),)
    computed = len("no literal")

    def __init__(self, *, strength: Annotated[float, {"minimum": 0}], other: int = 3) -> None: ...

    def fit(self, images): ...
''',
    )
    assert kind == kinds.Kind(
        sort="defence",
        name="mine",
        module="defences.mine",
        class_name="Mine",
        summary="What it is.",
        keys={
            "strength": {
                "type": "number",
                "minimum": 0,
                "description": "How much of it, in `units`.",
            },
            "other": {"type": "integer", "default": 3, "description": "Something."},
        },
        required=("strength",),
        traits={"stochastic": True, "groups": (("strength", "other"),)},
        methods=frozenset({"__init__", "fit"}),
    )
    assert kind.fitted
    assert kind.values({"strength": 1}) == {"strength": 1, "other": 3}
    assert kind.values({"strength": 1, "other": 4}) == {"strength": 1, "other": 4}


@pytest.mark.parametrize(
    ("parameter", "schema"),
    [
        ("p: float", {"type": "number"}),
        ("p: int = 3", {"type": "integer", "default": 3}),
        ("p: bool = False", {"type": "boolean", "default": False}),
        ("p: str = 'a'", {"type": "string", "default": "a"}),
        ("p: float = -0.5", {"type": "number", "default": -0.5}),
        ("p: int | None = None", {"type": ["integer", "null"], "default": None}),
        ("p: Literal['a', 'b']", {"type": "string", "enum": ["a", "b"]}),
        ("p: Literal['a']", {"type": "string", "enum": ["a"]}),
        ("p: Literal[8, 16]", {"type": "integer", "enum": [8, 16]}),
        ("p: Literal[256] | None", {"type": ["integer", "null"], "enum": [256, None]}),
        ("p: Sequence[str]", {"type": "array", "items": {"type": "string"}}),
        ("p: list[float]", {"type": "array", "items": {"type": "number"}}),
        ("p: Sequence[Defence]", {"type": "array", "items": {"type": "string"}}),
        (
            "p: Mapping[str, float]",
            {"type": "object", "additionalProperties": {"type": "number"}},
        ),
        ("p: Mapping[str, Any]", {"type": "object", "additionalProperties": True}),
        (
            "p: Annotated[float | None, {'minimum': 0, 'levels': True}] = None",
            {"type": ["number", "null"], "minimum": 0, "levels": True, "default": None},
        ),
        (
            "p: Sequence[Annotated[int, {'minimum': 1}]] = (1, 2)",
            {"type": "array", "items": {"type": "integer", "minimum": 1}, "default": (1, 2)},
        ),
        ("p: Annotated[int, {'minimum': 1}, {'maximum': 3}]", {"minimum": 1, "maximum": 3}),
    ],
)
def test_annotations_are_types(tmp_path, parameter, schema):
    key = keyed(tmp_path, parameter)
    assert key == {"type": "integer"} | schema if "type" not in schema else key == schema


@pytest.mark.parametrize(
    ("parameter", "message"),
    [
        # Annotations that say nothing, or nothing that can be checked.
        ("p", "mine.py: p: is without an annotation, so nothing would be checked. Expected one of"),
        ("p=3", "p: is without an annotation"),
        (
            "p: Any = 3",
            "p: is annotated as Any, so nothing would be checked. Expected one of float",
        ),
        ("p: Any | None = None", "p: is annotated as Any, so"),
        ("p: Tensor", "p: is annotated as Tensor. Expected one of float, int, bool, str, Literal"),
        ("p: float | int", "p: is annotated as float | int. Expected one of"),
        ("p: 'float'", "p: is annotated as 'float'. Expected one of"),
        ("p: None = None", "p: is annotated as None. Expected one of"),
        ("p: Sequence[Tensor]", "p: is annotated as Tensor. Expected one of"),
        ("p: Annotated[float, Positive()]", "p: has the words Positive(). Expected a literal"),
        ("p: Annotated[float, 'positive']", "p: is annotated as Annotated[float, 'positive']. Exp"),
        ("p: Literal[KINDS]", "p: has the values KINDS. Expected a literal value"),
        ("p: Literal['a', 1]", "p: is annotated as Literal['a', 1]. Expected one of"),
        ("p: Literal[True]", "p: is annotated as Literal[True]. Expected one of"),
        # Defaults that are no literals.
        ("p: float = 1 / 255", "mine.py: p: has the default 1 / 255. Expected a literal value"),
        (
            "p: float = STEP",
            "p: has the default STEP. Expected a literal value, such as 0.5, since",
        ),
        ("p: float = math.inf", "p: has the default math.inf. Expected a literal value"),
        ("p: float = {[]: 1}", "p: has the default {[]: 1}. Expected a literal value"),
    ],
)
def test_keys_that_could_not_be_checked_are_refused(tmp_path, parameter, message):
    source = f"class A(Defence):\n    def __init__(self, *, {parameter}) -> None: ...\n"
    assert message in refusal(tmp_path, source)


@pytest.mark.parametrize(
    ("signature", "sort", "message"),
    [
        ("self, p: float", "defence", "takes p by position. Expected parameters that are keyword"),
        ("self, p: float", "defence", "Write (self, *, p)."),
        ("self, p: float, /, q: int", "attack", "takes p, q by position"),
        ("self, pupil, p: float", "lesson", "takes p by position"),
        ("self, pupil, p: float", "lesson", "Write (self, pupil, *, p)."),
        ("self, pupil", "model", "takes pupil by position"),
        ("self, **kwargs", "defence", "any number of arguments as kwargs. Expected each one by"),
        ("self, *args", "defence", "any number of arguments as args"),
    ],
)
def test_parameters_that_no_key_could_set_are_refused(tmp_path, signature, sort, message):
    source = f"class A({kinds.SORTS[sort].base}):\n    def __init__({signature}) -> None: ...\n"
    assert message in refusal(tmp_path, source, sort)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "norms = ('linf',)\n    def __init__(self, *, steps: int): ...",
            "mine.py: has no key radius. Expected one in every attack: its bound, in units of",
        ),
        (
            "norms = ('l1',)\n    def __init__(self, *, radius: float): ...",
            'mine.py: norms is (\'l1\',). Expected ("linf",), ("l2",) or both in one tuple.',
        ),
        ("norms = ()\n    def __init__(self, *, radius: float): ...", "norms is (). Expected"),
        ("norms = 'l2'\n    def __init__(self, *, radius: float): ...", "norms is 'l2'. Expected"),
        (
            "def __init__(self, *, radius: float): ...",
            "norms is ('linf', 'l2'), but there is no key norm. Expected such a key where an",
        ),
        (
            "norms = ('l2',)\n    def __init__(self, *, radius: float, norm: str): ...",
            "norms is ('l2',), and there is a key norm. Expected such a key where an attack",
        ),
        (
            "effort = 'step'\n    def __init__(self, *, radius: float, steps: int): ...",
            "mine.py: effort: 'step' is not a key that is a number. Expected one of: radius, steps."
            " Did you mean 'steps'?",
        ),
        (
            "effort = ('n', 'p')\n    def __init__(self, *, n: int, p: Sequence[int]): ...",
            "effort: 'p' is not a key that is a number. Expected one of: n.",
        ),
    ],
)
def test_an_attack_says_what_it_bounds_and_costs(tmp_path, body, message):
    assert message in refusal(tmp_path, f"class A(Attack):\n    {body}\n", "attack")


def test_a_plug_in_has_no_key_that_its_entry_already_has(tmp_path):
    source = "class A(Lesson):\n    def __init__(self, pupil, *, epochs: int): ...\n"
    kind = read(tmp_path, source, "lesson")
    common = {"properties": {"epochs": {"type": "integer"}}}
    with pytest.raises(
        ConfigurationError,
        match=r"^advrob/training/mine\.py: __init__ takes epochs, which models\.<name>\.train "
        r"already has\. Expected keys of its own\. Rename it\.$",
    ):
        combined(common, kind)


def test_a_lesson_is_given_its_pupil(tmp_path):
    source = "class A(Lesson):\n    def __init__(self, pupil: Pupil, *, p: int = 1): ...\n"
    kind = read(tmp_path, source, "lesson")
    assert kind is not None
    assert list(kind.keys) == ["p"]


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("from advrob.defences import Defence\nclass A(Defence): ...", "A"),
        ("import advrob.defences as d\nclass A(d.Defence): ...", "A"),
        ("import advrob.defences\nclass A(advrob.defences.Defence): ...", "A"),
        ("from advrob.defences import Defence as Base\nclass A(Base): ...", "A"),
        ("class A(nn.Module, Defence): ...", "A"),
        # A base in the same file is a part of the plug-in.
        ("class Base(Defence): ...\nclass A(Base): ...", "A"),
    ],
)
def test_ways_to_derive(tmp_path, source, name):
    kind = read(tmp_path, source)
    assert kind is not None
    assert (kind.class_name, kind.keys) == (name, {})


@pytest.mark.parametrize(
    "source",
    [
        "from advrob.defences.pca import PCA\nclass MyPCA(PCA): pass",
        "from advrob.defences.pca import PCA as Base\nclass MyPCA(Base): pass",
        "from advrob.defences import pca\nclass MyPCA(pca.PCA): pass",
        # The same name as the base's is no loop.
        "from advrob.defences.pca import PCA\nclass PCA(PCA): pass",
    ],
)
def test_a_subclass_of_another_plug_in_has_its_keys(tmp_path, source):
    kind = read(tmp_path, source)
    pca = kinds.kinds("defence")["pca"]
    assert kind is not None
    assert kind.name == "mine"
    assert (kind.keys, kind.traits, kind.fitted) == (pca.keys, pca.traits, True)


def test_a_subclass_with_keys_of_its_own(tmp_path):
    kind = read(
        tmp_path,
        "from advrob.defences.noise import UniformNoise\n"
        "class Mine(UniformNoise):\n"
        '    """Mine.\n\n    Args:\n        radius: of it.\n    """\n'
        "    ordered = ()\n"
        "    def __init__(self, *, radius: float) -> None: ...\n",
    )
    assert kind is not None
    assert kind.keys == {"radius": {"type": "number", "description": "Of it."}}
    assert kind.traits == {"stochastic": True, "ordered": ()}


def test_relative_imports_are_those_of_the_library(monkeypatch, tmp_path):
    """In a copy of the library, with a plug-in that imports relatively."""
    library = tmp_path / "advrob"
    (library / "defences").mkdir(parents=True)
    (library / "defences/one.py").write_text("class One(Defence):\n    stochastic = True\n")
    (library / "defences/two.py").write_text("from .one import One\nclass Two(One): ...\n")
    (library / "defences/__init__.py").write_text("class Defence: ...\n")
    monkeypatch.setattr(kinds, "LIBRARY", library)
    plug_ins = kinds.kinds("defence")
    assert list(plug_ins) == ["one", "two"]
    assert plug_ins["two"].traits == {"stochastic": True}


@pytest.mark.parametrize(
    "source",
    [
        "def flip(images):\n    return images\n",
        "",
        "class A: ...\n",
        "class A(Module): ...\n",
        "class A(A): ...\n",
        "class A(B): ...\nclass B(A): ...\n",
        "from advrob.attacks import Attack\nclass A(Attack): ...\n",
        "from elsewhere import Base\nclass A(Base): ...\n",
        "from . import Base\nclass A(Base): ...\n",
        "from .. import Base\nclass A(Base): ...\n",
        "class A(make_base()): ...\n",
    ],
)
def test_a_file_without_a_plug_in(tmp_path, source):
    assert read(tmp_path, source) is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "class A(Defence): ...\nclass C(Defence): ...\n",
            "mine.py: holds 2 classes that derive from Defence (A, C). Expected one: one file for",
        ),
        ("x = 1\nclass A(Defence:\n", "mine.py, line 2: is not valid Python ("),
        ("class A(Defence):\nx\n", "mine.py, line 2: is not valid Python (expected an indented"),
        ("\0", "is not valid Python (source code string cannot contain null bytes)"),
    ],
)
def test_a_file_that_cannot_be_a_plug_in(tmp_path, source, message):
    assert message in refusal(tmp_path, source)


def test_a_file_that_is_no_utf_8(tmp_path):
    (tmp_path / "mine.py").write_bytes("class Größe(Defence): ...".encode("latin-1"))
    with pytest.raises(ConfigurationError, match=r"mine\.py: is not valid Python \('utf-8' codec"):
        kinds.read(tmp_path / "mine.py", "defence")


def test_a_new_file_is_a_new_kind(tmp_path, monkeypatch):
    folder = tmp_path / "advrob/attacks/universal"
    folder.mkdir(parents=True)
    for name in ("zero", "other"):
        (folder / f"{name}.py").write_text(f"class {name.title()}(UniversalMethod): ...\n")
    (folder / "search.py").write_text("class UniversalMethod: ...\n")
    (folder / "shared.py").write_text("class Shared(UniversalMethod):\n    abstract = True\n")
    (folder / "many.py").write_text("class Many(UniversalMethod):\n    names = ('a', 'b')\n")
    monkeypatch.setattr(kinds, "LIBRARY", tmp_path / "advrob")
    plug_ins = kinds.kinds("universal")
    assert list(plug_ins) == ["a", "b", "other", "zero"]
    assert {name: kind.name for name, kind in plug_ins.items()} == {name: name for name in plug_ins}
    assert plug_ins["a"].module == "attacks.universal.many"
    with pytest.raises(ConfigurationError, match=r"^k: .*search\.py has no class that derives"):
        kinds.kind("universal", "search", "k")
    with pytest.raises(ConfigurationError, match=r"^k: 'shared' is not a universal method\. Exp"):
        kinds.kind("universal", "shared", "k")


# The plug-ins that are there -------------------------------------------------------------------


@pytest.mark.parametrize(("sort", "name"), ALL)
def test_every_plug_in_says_all_about_its_keys(sort, name):
    kind = kinds.kinds(sort)[name]
    assert kind.summary.endswith(".")
    for key, schema in kind.keys.items():
        assert schema["type"], key
        assert schema["description"].endswith("."), key
        jsonschema.Draft202012Validator.check_schema(json.loads(json.dumps(schema)))
        assert (key in kind.required) == ("default" not in schema)


@pytest.mark.parametrize(("sort", "name"), ALL)
def test_every_default_is_a_value_that_the_key_may_have(sort, name):
    kind = kinds.kinds(sort)[name]
    defaults = {
        key: schema["default"]
        for key, schema in kind.keys.items()
        if schema.get("default") is not None
    }
    schema = {**combined({}, kind), "required": []}
    assert list(_validator_class()(schema).iter_errors(defaults)) == []


@pytest.mark.parametrize(("sort", "name"), ALL)
def test_null_means_that_a_key_is_not_given(sort, name):
    """As everywhere in the configuration, but where null is a value: real numbers for levels."""
    for key, schema in kinds.kinds(sort)[name].keys.items():
        if key != "levels":
            assert "null" not in schema["type"] or schema["default"] is None, key


@pytest.mark.parametrize(("sort", "name"), ALL)
def test_what_is_read_is_what_python_sees(sort, name):
    """The class, its keys, defaults and traits, by importing the file."""
    kind = kinds.kinds(sort)[name]
    plug_in = getattr(importlib.import_module(f"advrob.{kind.module}"), kind.class_name)
    assert inspect.cleandoc(plug_in.__doc__).partition("\n")[0] == kind.summary
    parameters = [
        parameter
        for parameter in inspect.signature(plug_in.__init__).parameters.values()
        if parameter.kind is parameter.KEYWORD_ONLY
    ]
    assert {parameter.name for parameter in parameters} == kind.keys.keys()
    for parameter in parameters:
        if parameter.name in kind.required:
            assert parameter.default is parameter.empty
        else:
            assert parameter.default == kind.keys[parameter.name]["default"]
    for trait, value in kind.traits.items():
        assert getattr(plug_in, trait) == value
    if sort == "defence":
        from advrob.defences import Defence

        assert kind.fitted == (plug_in.fit is not Defence.fit)


@pytest.mark.parametrize(
    ("parameter", "value"),
    [
        ("p: Literal['a', 'b']", "a"),
        ("p: bool", True),
        ("p: str", "a"),
        ("p: float", 1.0),
        ("p: Annotated[int, {'minimum': 1}]", 2),
        ("p: Annotated[float, {'exclusiveMinimum': 0, 'levels': True}]", 1.0),
        ("p: Annotated[float, {'minimum': 0, 'exclusiveMaximum': 1}]", 0.5),
        ("p: Annotated[float, {'maximum': 0}]", -1.0),
        ("p: Annotated[int, {'minimum': 1, 'maximum': 8}]", 4),
        ("p: Annotated[Sequence[float], {'minItems': 2}]", [1.0, 1.0]),
        ("p: Mapping[str, float]", {}),
    ],
)
def test_a_key_without_a_default_has_an_example(tmp_path, parameter, value):
    """Contract tests build plug-ins with it, a new one, too."""
    schema = keyed(tmp_path, parameter)
    assert example(schema) == value
    assert not [*_validator_class()(schema).iter_errors(value)]


@pytest.mark.parametrize(("sort", "name"), ALL)
def test_traits_that_name_keys_name_some_that_there_are(sort, name):
    kind = kinds.kinds(sort)[name]
    for trait in ("effort", "principal", "stochastic_if", "classifier"):
        named = kind.traits.get(trait, ())
        assert {*([named] if isinstance(named, str) else named)} <= kind.keys.keys(), trait


def test_the_defences_that_learn():
    fitted = {name for name, kind in kinds.kinds("defence").items() if kind.fitted}
    assert fitted >= {"pca", "patch_pca", "autoencoder", "conv_autoencoder", "dncnn"}
    assert not fitted & {"none", "noise", "downsample", "chain", "ffdnet"}
