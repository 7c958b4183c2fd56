"""A plug-in of pytest that notes which test makes which of the workflow's messages.

It writes lines of JSON, file, line and test, to the file of the environment variable PROVOKED.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from advrob.errors import UserError
from advrob.plan.errors import ConfigurationError

seen: set[tuple[str, int, str]] = set()
running = ""


def noting(error: type[Exception]) -> None:
    """Have the errors of a class note where they were made, and by which test."""
    make = error.__init__

    def init(self: Exception, *arguments: Any) -> None:
        caller = sys._getframe(1)
        seen.add((caller.f_code.co_filename, caller.f_lineno, running))
        make(self, *arguments)

    error.__init__ = init  # type: ignore[method-assign]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    global running
    running = item.nodeid.partition("[")[0].removeprefix("tests/")
    return (yield)


def pytest_sessionfinish() -> None:
    with Path(os.environ["PROVOKED"]).open("a", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(each)}\n" for each in sorted(seen))


noting(UserError)
noting(ConfigurationError)
