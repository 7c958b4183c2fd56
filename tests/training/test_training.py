"""Preventive models: the lessons against closed forms, the trainer on a network that learns."""

import inspect
import math
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F

import train as script
from advrob import models, networks
from advrob.errors import UserError
from advrob.files import store
from advrob.files.rows import ImageRows
from advrob.job.compute import generator
from advrob.learning import fitting
from advrob.networks import Network
from advrob.plan import kinds
from advrob.plug_ins import load
from advrob.training import Lesson, Pupil, trainer
from advrob.training.gan import Adversary, Game, apply, load_generator, train_generator
from advrob.training.multitask import SIDE
from advrob.training.trainer import train
from conftest import a_job, tiny_network
from examples import required_values

METHODS = kinds.kinds("lesson")
SIZE = 32
CPU = torch.device("cpu")
COLOURS = {3: (200, 40, 40), 7: (40, 200, 40), 11: (40, 40, 200)}
TASKS = {"coarse": 0.5, "rotation": 0.5, "reconstruction": 1.0}


class Colours(nn.Module):
    """Logits of 1000 classes from the mean colour of an image."""

    def __init__(self) -> None:
        super().__init__()
        self.convolve = nn.Conv2d(3, 8, 3, stride=2)
        self.classify = nn.Linear(8, 1000)
        draw = generator(5, "weights")
        for weights in self.parameters():
            weights.data.normal_(0, 0.2, generator=draw)

    def forward(self, images: Tensor) -> Tensor:
        return self.classify(self.convolve(images).relu().mean(dim=(2, 3)))


def model() -> models.Model:
    built = models.Model(Colours(), models.NORMALISATIONS["none"], None)
    return built.eval().requires_grad_(False)


def pupil(size: int = SIZE, batch_size: int = 4) -> Pupil:
    return Pupil(model(), size, batch_size, generator(0, "lesson"), CPU)


def pictures(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Noisy squares of three colours, and their classes."""
    labels = np.array([list(COLOURS)[i % 3] for i in range(count)], np.int64)
    draw = np.random.default_rng(1)
    noise = draw.integers(-30, 31, (count, SIZE, SIZE, 3))
    colours = np.array([COLOURS[label] for label in labels])
    return (colours[:, None, None] + noise).clip(0, 255).astype(np.uint8), labels


def batch(count: int = 4) -> tuple[Tensor, Tensor]:
    images, labels = pictures(count)
    return torch.from_numpy(images).permute(0, 3, 1, 2) / 255, torch.from_numpy(labels)


def train_model(
    folder: Path, images: Any = None, labels: Any = None, **changes: Any
) -> dict[str, Any]:
    pictured, classes = pictures(40)
    options: dict[str, Any] = {
        "method": "standard",
        "epochs": 3,
        "batch_size": 8,
        "learning_rate": 0.02,
        "predict_batch": 16,
        "device": CPU,
        "generator": generator(0, "train"),
        "checkpoint": folder / "checkpoint",
    }
    images = pictured if images is None else images
    labels = classes if labels is None else labels
    return train(model(), images, labels, **options | changes)


def options(method: str) -> dict[str, Any]:
    return {"tasks": TASKS} if method == "multitask" else required_values(METHODS[method])


def lesson_of(method: str, trainee: Pupil, **parameters: Any) -> Any:
    lesson = load("lesson", method)(trainee, **parameters)
    assert isinstance(lesson, Lesson)
    return lesson


# Lessons ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
def test_every_lesson_gives_a_loss_that_the_network_can_lower(method: str) -> None:
    trainee = pupil()
    trainee.model.network.requires_grad_(True)
    lesson = lesson_of(method, trainee, **options(method))
    loss, measured = lesson.loss(trainee.model, *batch())
    assert loss.ndim == 0
    assert len(measured) == len(lesson.measures)
    assert all(math.isfinite(value) for value in measured)
    loss.backward()
    for weights in [*trainee.model.network.parameters(), *lesson.extra_parameters()]:
        assert weights.grad is not None
        assert weights.grad.abs().sum() > 0


@pytest.mark.parametrize("method", METHODS)
def test_keys_of_the_configuration_are_those_of_the_lesson(method: str) -> None:
    """With the defaults that it has, and a sentence for each."""
    parameters = inspect.signature(load("lesson", method)).parameters.values()
    defaults = {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY}
    declared = kinds.kind("lesson", method, "models.m.train.method")
    assert declared.keys.keys() == defaults.keys()
    assert {key for key in defaults if defaults[key] is inspect.Parameter.empty} == {
        *declared.required
    }
    for key, schema in declared.keys.items():
        assert schema["description"].endswith(".")
        assert key in declared.required or schema["default"] == defaults[key]


def test_every_file_with_a_lesson_is_one() -> None:
    assert {"standard", "universal", "free", "pgd", "gan", "multitask"} <= set(METHODS)
    assert not {"climbing", "trainer"} & set(METHODS)


def test_a_universal_perturbation_climbs_by_signs_within_its_radius() -> None:
    trainee = pupil()
    lesson = lesson_of("universal", trainee, radius=3, step=2)
    images, labels = batch()
    for number in range(3):
        before = lesson.perturbation.detach().clone()
        perturbed = (images + before / 255).requires_grad_()
        (gradient,) = torch.autograd.grad(
            F.cross_entropy(trainee.model(perturbed), labels), perturbed
        )
        loss, _ = lesson.loss(trainee.model, images, labels)
        loss.backward()
        lesson.update()
        expected = (before + 2 * gradient.sum(dim=0, keepdim=True).sign()).clamp(-3, 3)
        assert torch.equal(lesson.perturbation.detach(), expected), number
    assert lesson.perturbation.abs().max() == 3


def test_free_training_keeps_a_perturbation_for_each_position() -> None:
    trainee = pupil()
    lesson = lesson_of("free", trainee, radius=4, replays=3)
    assert lesson.replays == 3
    loss, _ = lesson.loss(trainee.model, *batch())
    loss.backward()
    lesson.update()
    assert lesson.perturbation.shape == (4, 3, SIZE, SIZE)
    assert set(lesson.perturbation.detach().abs().unique().tolist()) <= {0.0, 4.0}
    assert not torch.equal(lesson.perturbation[0], lesson.perturbation[1])


@pytest.mark.parametrize(("iterations", "step"), [(1, 5.0), (4, 2.0)])
def test_pgd_shows_images_within_the_radius_that_are_worse(iterations: int, step: float) -> None:
    trainee = pupil()
    lesson = lesson_of("pgd", trainee, radius=4, iterations=iterations)
    assert lesson.step == step
    images, labels = batch()
    shown: list[Tensor] = []

    def network(inputs: Tensor) -> Tensor:
        shown.append(inputs.detach())
        return trainee.model(inputs)

    loss, _ = lesson.loss(network, images, labels)  # type: ignore[arg-type]
    assert len(shown) == iterations + 1
    moves = ((shown[-1] - images) * 255).round()
    assert 0 < moves.abs().max() <= 4
    assert loss > F.cross_entropy(trainee.model(images), labels)


@pytest.mark.parametrize("method", ["pgd", "free"])
def test_perturbations_grow_over_the_first_half(method: str) -> None:
    trainee = pupil()
    trainee.model.network.requires_grad_(True)
    lesson = lesson_of(method, trainee, radius=8)
    images, labels = batch()
    for progress, radius in ((0.0, 0), (0.25, 4), (0.5, 8), (0.9, 8)):
        lesson.progress = progress
        shown: list[Tensor] = []

        def network(inputs: Tensor, shown: list[Tensor] = shown) -> Tensor:
            shown.append(inputs.detach())
            return trainee.model(inputs)

        for _ in range(2):
            loss, _ = lesson.loss(network, images, labels)  # type: ignore[arg-type]
            loss.backward()
            lesson.update()
        moves = (shown[-1] - images) * 255
        assert float(moves.abs().max()) == pytest.approx(radius, abs=1e-3), progress


def test_multitask_losses_are_those_of_the_tasks() -> None:
    trainee = pupil()
    images, labels = batch()
    lesson = lesson_of("multitask", trainee, tasks={"coarse": 2.0, "reconstruction": 3.0})
    features = trainee.model.network.convolve(images).relu().mean(dim=(2, 3))
    coarse = F.cross_entropy(lesson.heads["coarse"](features), lesson.category[labels])
    small = F.interpolate(images, (SIDE, SIDE), mode="area").flatten(1)
    rebuilt = F.mse_loss(lesson.heads["reconstruction"](features).sigmoid(), small)
    main = F.cross_entropy(trainee.model(images), labels)
    loss, measured = lesson.loss(trainee.model, images, labels)
    assert measured[1:] == pytest.approx([float(coarse.detach()), float(rebuilt.detach())])
    assert float(loss.detach()) == pytest.approx(float((main + 2 * coarse + 3 * rebuilt).detach()))


# The generative adversarial network --------------------------------------------------------------


def test_the_game_is_that_of_the_papers_equation_2() -> None:
    images, labels = batch(6)
    game = Game(SIZE, generator(0, "game"), CPU, realism=1.0, learning_rate=0.0)
    draws = game.draws.get_state()
    losses = game.play(model(), images, labels)
    game.draws.set_state(draws)
    with torch.no_grad():
        attacked = game.attacked(images)
        real, false = game.discriminator(images).sigmoid(), game.discriminator(attacked).sigmoid()
        crossed = F.cross_entropy(model()(attacked), labels)
    # log D(x) + log(1 - D(x + G(z))), negated; in bfloat16 where the hardware has it.
    assert losses[0] == pytest.approx(-float((real.log() + (1 - false).log()).mean()), rel=0.05)
    assert losses[1] == pytest.approx(-float(false.log().mean()), rel=0.1)
    assert losses[2] == pytest.approx(float(crossed), rel=0.05)


def test_players_move_and_the_classifier_does_not() -> None:
    trainee = pupil()
    trainee.model.network.requires_grad_(True)
    game = Game(SIZE, generator(0, "game"), CPU)
    before = {name: value.clone() for name, value in game.state_dict().items() if "weight" in name}
    game.play(trainee.model, *batch())
    after = game.state_dict()
    assert all(not torch.equal(value, after[name]) for name, value in before.items())
    assert all(weights.grad is None for weights in trainee.model.parameters())


def test_a_generator_learns_to_fool_and_resumes_to_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images, _ = pictures(24)
    rows = ImageRows(images, np.arange(24))
    common: dict[str, Any] = {
        "device": CPU, "epochs": 6, "batch_size": 8, "radius": 60.0, "latent": 8, "realism": 0.0,
    }  # fmt: skip
    teacher = model()
    predicted = teacher(batch(24)[0]).argmax(dim=1).numpy()
    whole = train_generator(
        teacher, rows, predicted, generator=generator(0, "g"), checkpoint=tmp_path / "a", **common
    )
    curve = whole["training_curve"]
    assert curve.shape == (6, 3)
    assert (np.diff(curve[:, 2]) > 0).all()

    class CutError(Exception):
        pass

    save_checkpoint = fitting.save_checkpoint

    def cut(*arguments: Any) -> None:
        save_checkpoint(*arguments)
        raise CutError

    monkeypatch.setattr(fitting, "save_checkpoint", cut)
    for _ in range(6):
        with pytest.raises(CutError):
            train_generator(
                teacher, rows, predicted, generator=generator(0, "g"), checkpoint=tmp_path / "b",
                **common,
            )  # fmt: skip
    monkeypatch.setattr(fitting, "save_checkpoint", save_checkpoint)
    resumed = train_generator(
        teacher, rows, predicted, generator=generator(0, "g"), checkpoint=tmp_path / "b", **common
    )
    assert all(np.array_equal(resumed[name], whole[name]) for name in whole)

    with store.write(tmp_path / "g.h5", "state/1", seed=0, params={}, source="test") as file:
        store.put(file, whole)
    with store.read(tmp_path / "g.h5", "state/1") as file:
        trained = load_generator(file, common, SIZE)
    vectors = torch.randn(24, 8, generator=generator(1, "z"))
    attacked = apply(trained, images, vectors)
    moves = attacked.astype(int) - images
    assert 0 < abs(moves).max() <= 60
    # Each image's is its own and does not depend on its neighbours.
    assert np.array_equal(apply(trained, images[5:6], vectors[5:6])[0], attacked[5])
    assert not np.array_equal(moves[0], moves[3])


def test_the_gan_teaches_on_both_kinds_of_images() -> None:
    trainee = pupil()
    lesson = Adversary(trainee, radius=200.0)
    images, labels = batch()
    shown: list[Tensor] = []

    def network(inputs: Tensor) -> Tensor:
        shown.append(inputs.detach())
        return trainee.model(inputs)

    lesson.loss(network, images, labels)  # type: ignore[arg-type]
    assert torch.equal(shown[-1][:4], images)
    assert shown[-1].shape[0] == 8
    assert not torch.equal(shown[-1][4:], images)


# The trainer ------------------------------------------------------------------------------------


def test_training_learns_and_answers_only_its_classes(tmp_path: Path) -> None:
    state = train_model(tmp_path, epochs=8)
    assert state["training_measures"].tolist() == [
        "loss",
        "accuracy while learning",
        "loss, held out",
        "accuracy, held out",
    ]
    assert state["training_curve"].shape == (8, 4)
    assert state["training_curve"][-1, 0] < state["training_curve"][0, 0]
    assert state["training_curve"][-1, -1] == 1.0
    assert state["known"].tolist() == sorted(COLOURS)


@pytest.mark.parametrize("method", METHODS)
def test_training_that_is_interrupted_resumes_to_the_same_bytes(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "whole").mkdir()
    (tmp_path / "cut").mkdir()
    whole = train_model(tmp_path / "whole", method=method, **options(method))

    class CutError(Exception):
        pass

    save_checkpoint, saves = fitting.save_checkpoint, []

    def cut(*arguments: Any) -> None:
        save_checkpoint(*arguments)
        saves.append(1)
        raise CutError

    # In the middle of an epoch and at its end.
    monkeypatch.setattr(fitting, "CHECKPOINT_SECONDS", 0.0)
    monkeypatch.setattr(fitting, "save_checkpoint", cut)
    for _ in range(2):
        with pytest.raises(CutError):
            train_model(tmp_path / "cut", method=method, **options(method))
    monkeypatch.setattr(fitting, "save_checkpoint", save_checkpoint)
    resumed = train_model(tmp_path / "cut", method=method, **options(method))
    assert len(saves) == 2
    assert resumed.keys() == whole.keys()
    for name in whole:
        assert np.array_equal(resumed[name], whole[name]), name


def test_images_without_a_label_are_taught_by_the_network_itself(tmp_path: Path) -> None:
    images, _ = pictures(40)
    predicted = model()(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).argmax(dim=1)
    unlabelled = np.full(40, -1, np.int64)
    state = train_model(tmp_path, images, unlabelled, learning_rate=1e-9)
    assert "known" not in state
    # What the network says of varied images is nearly what it says of the images.
    assert state["training_curve"][0, 1] > 0.9
    assert len(predicted.unique()) > 1


def test_a_single_class_is_refused(tmp_path: Path) -> None:
    images, _ = pictures(9)
    with pytest.raises(UserError, match=r"images\.fit: all 9 images are of one class"):
        train_model(tmp_path, images, np.full(9, 3, np.int64))


@pytest.mark.parametrize("method", ["standard", "universal", "gan"])
def test_training_that_diverges_says_so_and_keeps_its_last_good_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """It would answer the first class to everything, and all jobs would succeed."""
    monkeypatch.setattr(fitting, "CHECKPOINT_SECONDS", 0)
    message = (
        rf"^train.method {method}: training diverged: .* is nan after \d epochs and \d of 4 steps"
    )
    with pytest.raises(UserError, match=rf"{message}\. Set a lower learning_rate than 1e\+30\."):
        train_model(tmp_path, method=method, learning_rate=1e30)
    saved = fitting.load_checkpoint(tmp_path / "checkpoint")
    assert all(value.isfinite().all() for value in saved.get("network", {}).values())


@pytest.mark.parametrize("method", METHODS)
def test_training_that_diverges_to_a_finite_loss_says_so(tmp_path: Path, method: str) -> None:
    with pytest.raises(
        UserError, match=r"diverged: loss is [\d.]+e\+\d+ after 0 .*learning_rate than 1000\."
    ):
        train_model(tmp_path, method=method, learning_rate=1e3, **options(method))
    assert not (tmp_path / "checkpoint").exists()


@pytest.mark.parametrize(("right", "refused"), [(0.0, True), (1 / 3, True), (0.5, False)])
def test_a_network_that_guesses_with_a_large_loss_diverged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, right: float, refused: bool
) -> None:
    """Attacked images may have such a loss before it is lowered, but the network knows others."""
    monkeypatch.setattr(trainer, "FAR", 0.1)
    monkeypatch.setattr(trainer, "_held_out", lambda *_: (0.0, right))
    if not refused:
        assert train_model(tmp_path)["training_curve"][-1, -1] == right
        return
    with pytest.raises(UserError, match=r"diverged: loss is 0\.\d+ after 0 epochs"):
        train_model(tmp_path)


def test_training_that_diverges_in_its_last_step_is_no_training(tmp_path: Path) -> None:
    images, labels = pictures(9)
    with pytest.raises(UserError, match="loss, held out is nan after 0 epochs and 1 of 1 steps"):
        train_model(tmp_path, images, labels, epochs=1, learning_rate=1e30)


def test_the_only_step_of_training_is_judged_by_what_it_leads_to(tmp_path: Path) -> None:
    """Its own loss is that before the step, and one held-out image may be right by chance."""
    images, labels = pictures(9)
    trained = train_model(tmp_path, images, labels, epochs=1, learning_rate=0.01)
    assert trained["training_curve"].shape == (1, 4)
    (tmp_path / "checkpoint").unlink()
    with pytest.raises(UserError, match=r"loss, held out is [\d.e+]+ after 0 epochs and 1 of 1 "):
        train_model(tmp_path, images, labels, epochs=1, learning_rate=10)
    assert not (tmp_path / "checkpoint").exists()


def test_a_network_that_gives_no_numbers_is_not_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = model()
    next(broken.network.parameters()).data.fill_(math.nan)
    monkeypatch.setitem(globals(), "model", lambda: broken)
    with pytest.raises(UserError, match=r"loss is nan after 0 .* check the weights that"):
        train_model(tmp_path)
    _, labels = pictures(40)
    with pytest.raises(UserError, match="not finite"):
        train_model(tmp_path, labels=np.where(labels == 3, -1, labels))


def test_a_generator_that_diverges_says_so(tmp_path: Path) -> None:
    images, labels = pictures(24)
    with pytest.raises(UserError, match=r"^perturbations.gan: training diverged: .*than 1e\+30\."):
        train_generator(
            model(),
            ImageRows(images, np.arange(24)),
            labels,
            device=CPU,
            generator=generator(0, "g"),
            epochs=2,
            batch_size=8,
            checkpoint=tmp_path / "c",
            learning_rate=1e30,
        )


def test_free_training_makes_fewer_epochs(tmp_path: Path) -> None:
    state = train_model(tmp_path, method="free", epochs=8, replays=4)
    assert len(state["training_curve"]) == 2


def test_a_trained_model_is_built_from_its_file(tmp_path: Path, tiny_weights: Path) -> None:
    images, labels = pictures(16)
    source, state = tmp_path / "fit.h5", tmp_path / "state.h5"
    arrays = {
        "images": images,
        "labels": labels,
        "ids": np.array([f"i{n}" for n in range(16)], dtype=object),
        "classes": np.array(["a"], dtype=object),
    }
    with store.write(source, "images/1", seed=0, params={}, source="test") as file:
        store.put(file, arrays)
    described = tiny_network(tiny_weights)
    base = described["model_settings"]
    lesson = {"method": "universal", "epochs": 1, "batch_size": 4, "learning_rate": 0.01}
    entry = {"base": base, "train": lesson}
    summary = script.main(
        images=str(source),
        state=str(state),
        model="mine",
        model_settings=entry,
        job=a_job(seed=1, batch_size=8),
        checkpoint=tmp_path / "c",
    )
    assert summary.startswith("mine: ")
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    trained = {"model": "mine", "model_settings": entry, "learned": {"model mine": str(state)}}
    built = networks.build(described | trained, device=CPU)
    logits = built(pixels)
    assert logits.shape == (16, 1000)
    assert set(logits.argmax(dim=1).tolist()) <= set(COLOURS)
    unknown = [c for c in range(1000) if c not in COLOURS]
    assert (logits[:, unknown] == models.UNKNOWN).all()
    with store.read(state, "state/1") as file:
        expected = models.build("mine", base, fold=False)
        trained_weights = {name: torch.from_numpy(np.asarray(file[f"network.{name}"][()]))
               for name in expected.network.state_dict()}  # fmt: skip
    original = load_file(tiny_weights)
    assert any(not torch.equal(trained_weights[name], original[name]) for name in original)
    expected.network.load_state_dict(trained_weights)
    expected_logits = expected(pixels)[:, list(COLOURS)]
    torch.testing.assert_close(logits[:, list(COLOURS)], expected_logits, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("answer", [None, torch.zeros(()), (torch.zeros(2), [1.0]), (1.0, [1.0])])
def test_a_lesson_that_returns_no_loss_is_refused(answer: object) -> None:
    class Own(Lesson):
        measures = ("accuracy",)

        def loss(self, network, images, labels):
            return answer

    network = cast(Network, nn.Linear(1, 1))
    optimiser = torch.optim.SGD(network.parameters())
    images, labels = torch.zeros(1, 3, 2, 2), torch.zeros(1, dtype=torch.int64)
    with pytest.raises(UserError, match=r"^lesson Own: its loss does not return .* \(accuracy\)\."):
        trainer._train_on_batch(Own(), network, optimiser, images, labels)
