"""Running out of memory is told from other failures, with the batch and the remedy."""

import pickle
import weakref
from collections.abc import Callable

import numpy as np
import pytest
import torch

from clipexp.errors import DivergedError, MemoryExhaustedError
from clipexp.spec.run import BudgetSpec, TrainSpec
from clipexp.train.memory import telling_exhaustion

TOO_MANY = 1 << 48  # bytes: more than any machine can address


def train_spec(batch_size: int, micro_batch: int | None = None) -> TrainSpec:
    return TrainSpec(batch_size=batch_size, micro_batch=micro_batch, budget=BudgetSpec(samples=1000))


@pytest.mark.parametrize(
    "ask", [lambda: torch.empty(TOO_MANY), lambda: np.empty(TOO_MANY), lambda: bytearray(TOO_MANY)]
)
def test_what_torch_numpy_and_python_raise_becomes_one_error(ask: Callable[[], object]) -> None:
    with pytest.raises(MemoryExhaustedError) as caught, telling_exhaustion(train_spec(96, 32)):
        ask()
    assert (caught.value.batch_size, caught.value.micro_batch) == (96, 32)
    assert caught.value.__cause__ is not None


@pytest.mark.parametrize("error", [RuntimeError("shapes differ"), ValueError("can't allocate memory"), KeyError("a")])
def test_other_errors_stay_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, telling_exhaustion(train_spec(96)):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    ("batch_size", "micro_batch", "message"),
    [
        (96, None, "96 pairs held at once; hold fewer with --set train.micro_batch=48, or free memory"),
        (96, 32, "32 pairs held at once, of batches of 96; hold fewer with --set train.micro_batch=16, or"),
        (97, None, "hold fewer with --set train.micro_batch=1, or"),
        (96, 1, "1 pairs held at once, of batches of 96; make the model or train.batch_size smaller, or"),
    ],
)
def test_the_remedy_is_half_of_what_was_held_or_the_next_divisor_below(
    batch_size: int, micro_batch: int | None, message: str
) -> None:
    with pytest.raises(MemoryExhaustedError) as caught, telling_exhaustion(train_spec(batch_size, micro_batch)):
        raise MemoryError
    assert str(caught.value).startswith("out of memory with ")
    assert message in str(caught.value)


def test_what_the_failed_step_held_is_let_go_of() -> None:
    class Held:
        pass

    seen: list[weakref.ref[Held]] = []

    def step() -> None:
        held = Held()
        seen.append(weakref.ref(held))
        raise MemoryError

    with pytest.raises(MemoryExhaustedError) as caught, telling_exhaustion(train_spec(8)):
        step()
    assert caught.value.__cause__ is not None  # the traceback is still there, but what its frames held is not
    assert seen[0]() is None


@pytest.mark.parametrize("error", [DivergedError("no number at 96", 96), MemoryExhaustedError("no room", 96, None)])
def test_the_errors_can_be_sent_to_another_process(error: DivergedError | MemoryExhaustedError) -> None:
    same = pickle.loads(pickle.dumps(error))
    assert (type(same), str(same), vars(same)) == (type(error), str(error), vars(error))
    assert str(same) in ("no number at 96", "no room")
