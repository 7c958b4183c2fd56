"""The lessons by name: the ``method`` of a model's ``train``."""

from advrob.training import Lesson
from advrob.training.adversarial import Free, Pgd, Universal
from advrob.training.gan import Adversary
from advrob.training.multitask import MultiTask
from advrob.training.standard import Standard

LESSONS: dict[str, type[Lesson]] = {
    "standard": Standard,
    "universal": Universal,
    "free": Free,
    "pgd": Pgd,
    "gan": Adversary,
    "multitask": MultiTask,
}
