"""The book of trials: told once, none lost, none under way twice, whatever dies."""

import contextlib
import multiprocessing
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from clipexp.errors import StudyError
from clipexp.spec.study import StudySpec
from clipexp.study.book import StudyBook, open_book
from clipexp.study.storage import open_storage
from tests.study.postgres import Server

DISTRIBUTIONS: dict[str, BaseDistribution] = {
    "optim.max_lr": FloatDistribution(1e-4, 3e-3, log=True),
    "log2(optim.batch_size)": IntDistribution(8, 12),
}
BASELINE = {"optim.max_lr": 1e-3, "log2(optim.batch_size)": 9}
SPACE = {"optim.max_lr": {"kind": "range", "low": 1e-4, "high": 3e-3}}
TOTAL = 900


def study_spec(**changes: Any) -> StudySpec:
    return StudySpec.model_validate(
        {"name": "quick", "base": "base.yaml", "search": SPACE, "budget": {"trials": 9}, **changes}
    )


@contextlib.contextmanager
def opened(uri: str | None, folder: Path, spec: StudySpec | None = None, patience_s: float = 60) -> Iterator[StudyBook]:
    with open_storage(uri, folder, patience_s=patience_s) as storage:
        storage.hold("quick")
        yield open_book(spec or study_spec(), storage, DISTRIBUTIONS, None, SPACE, TOTAL)


def ask(book: StudyBook) -> int:
    suggestion = book.ask()
    assert suggestion is not None
    return suggestion.number


def states(book: StudyBook) -> list[str]:
    return [trial.state.name for trial in book.trials()]


def test_what_was_told_is_read_again_as_it_was(storage_uri: str | None, tmp_path: Path) -> None:
    with opened(storage_uri, tmp_path) as book:
        for tell in (
            lambda number: book.tell_finished(number, 1.5),
            book.tell_pruned,
            lambda number: book.tell_infeasible(number, "out of memory"),
            lambda number: book.tell_failed(number, "the machine was lost"),
        ):
            number = ask(book)
            book.report(number, 100, 2.0 + number)
            book.note(number, run=f"run{number}")
            tell(number)
        book.note_study(report="done")
    with opened(storage_uri, tmp_path) as book:
        assert states(book) == ["COMPLETE", "PRUNED", "PRUNED", "FAIL"]
        assert [trial.value for trial in book.trials()] == [1.5, 3.0, None, None]
        assert [trial.user_attrs.get("run") for trial in book.trials()] == ["run0", "run1", "run2", "run3"]
        assert book.trials()[2].user_attrs["infeasible"] == "out of memory"
        assert book.trials()[2].constraints == {"infeasible": 1.0}
        assert book.trials()[3].user_attrs["failed"] == "the machine was lost"
        assert book.study.user_attrs["report"] == "done"
        assert book.num_told() == 4


def test_a_trial_is_told_once_and_the_second_time_is_refused(storage_uri: str | None, tmp_path: Path) -> None:
    with opened(storage_uri, tmp_path) as book:
        number = ask(book)
        book.tell_finished(number, 1.5)
        for tell in (book.tell_pruned, book.requeue, lambda n: book.tell_finished(n, 0.5), book.should_prune):
            with pytest.raises(StudyError, match="trial 0 of study quick is COMPLETE, and not under way here"):
                tell(number)
        with pytest.raises(StudyError, match="trial 7 of study quick is unknown"):
            book.tell_pruned(7)
        assert [trial.value for trial in book.trials()] == [1.5]


def test_a_trial_that_someone_else_told_is_not_told_over(storage_uri: str | None, tmp_path: Path) -> None:
    with opened(storage_uri, tmp_path) as book:
        number = ask(book)
        book.study.tell(number, 0.25)
        with pytest.raises(StudyError, match="was told COMPLETE already"):
            book.tell_finished(number, 0.5)
        assert [trial.value for trial in book.trials()] == [0.25]


def test_a_value_that_is_no_number_is_not_told(tmp_path: Path) -> None:
    with opened(None, tmp_path) as book:
        number = ask(book)
        with pytest.raises(StudyError, match="tell it infeasible"):
            book.tell_finished(number, float("nan"))
        assert states(book) == ["RUNNING"]


def test_a_trial_broken_off_is_asked_for_next_with_all_that_is_known(storage_uri: str | None, tmp_path: Path) -> None:
    with opened(storage_uri, tmp_path) as book:
        first = book.ask()
        second = book.ask()
        assert first is not None
        assert second is not None
        book.report(first.number, 100, 2.0)
        book.note(first.number, run="abc")
        book.requeue(first.number)
        book.tell_finished(second.number, 1.0)
    with opened(storage_uri, tmp_path) as book:
        again = book.ask()
        assert again is not None
        assert (again.number, again.params, again.notes) == (first.number, first.params, {"run": "abc"})
        book.report(again.number, 100, 5.0)  # repeated after the checkpoint: the first stays, and nothing warns
        book.report(again.number, 200, float("nan"))
        book.report(again.number, 300, 1.75)
        book.tell_finished(again.number, 1.75)
        assert book.trials()[0].intermediate_values == {100: 2.0, 300: 1.75}
        assert ask(book) == 2


def test_what_a_killed_driver_left_waits_or_is_told_what_it_had_found(storage_uri: str | None, tmp_path: Path) -> None:
    with opened(storage_uri, tmp_path) as book:
        for _ in range(4):
            ask(book)
        book.tell_finished(0, 1.0)
        book.note(1, infeasible="out of memory")  # the first of the steps of telling it
        book.note(2, failed="the machine was lost")
    with opened(storage_uri, tmp_path) as book:
        assert book.requeue_running() == [3]
        assert states(book) == ["COMPLETE", "PRUNED", "FAIL", "WAITING"]
        assert book.trials()[1].constraints == {"infeasible": 1.0}
        assert book.requeue_running() == []
        assert ask(book) == 3
        assert book.requeue_running() == []  # it is under way here


def test_baselines_are_run_first_once_and_never_stopped(storage_uri: str | None, tmp_path: Path) -> None:
    spec = study_spec(pruner={"kind": "median", "startup_trials": 1})
    for _ in range(2):  # each launch enqueues them
        with opened(storage_uri, tmp_path, spec) as book:
            book.requeue_running()
            book.enqueue("run1", BASELINE, is_baseline=True)
            book.enqueue("linked", {**BASELINE, "optim.max_lr": 2e-3}, is_baseline=False, notes={"from": "other"})
            first, second, third = book.ask(), book.ask(), book.ask()
            assert first is not None
            assert second is not None
            assert third is not None
            assert (first.number, first.baseline, first.params) == (0, "run1", BASELINE)
            assert (second.number, second.baseline, second.notes["from"]) == (1, None, "other")
            assert third.notes == {}
    book_of_three = [trial.number for trial in optuna_trials(storage_uri, tmp_path)]
    assert book_of_three == [0, 1, 2]
    with opened(storage_uri, tmp_path, spec) as book:
        book.requeue_running()
        for _ in range(3):
            ask(book)
        book.report(2, 100, 1.0)
        book.tell_finished(2, 1.0)
        for number in (0, 1):
            book.report(number, 100, 9.0)
        assert [book.should_prune(number) for number in (0, 1)] == [False, True]


def optuna_trials(uri: str | None, folder: Path) -> list[optuna.trial.FrozenTrial]:
    """As any other tool of Optuna's sees them."""
    with open_storage(uri, folder) as storage:
        return optuna.load_study(study_name="quick", storage=storage.storage).trials


@pytest.mark.parametrize("wrong", [{"optim.max_lr": 1e-3}, {**BASELINE, "optim.max_lr": 1.0}])
def test_settings_outside_of_the_space_are_refused(wrong: dict[str, Any], tmp_path: Path) -> None:
    with opened(None, tmp_path) as book:
        with pytest.raises(StudyError, match=r"run1: .* outside of what is searched, "):
            book.enqueue("run1", wrong, is_baseline=True)
        assert book.trials() == []


def test_a_trial_once_found_to_be_stopped_stays_so_over_a_restart(storage_uri: str | None, tmp_path: Path) -> None:
    spec = study_spec(pruner={"kind": "successive_halving", "min_samples": 100})
    with opened(storage_uri, tmp_path, spec) as book:
        for value in (1.0, 2.0):
            number = ask(book)
            book.report(number, 100, value)
        assert [book.should_prune(0), book.should_prune(1)] == [False, True]
    with opened(storage_uri, tmp_path, spec) as book:
        assert book.requeue_running() == [0, 1]
        ask(book)
        ask(book)
        assert [book.should_prune(0), book.should_prune(1)] == [False, True]


def test_a_name_in_use_with_another_space_is_refused_with_the_difference(tmp_path: Path) -> None:
    with opened(None, tmp_path):
        pass
    other = {"optim.max_lr": {"kind": "range", "low": 1e-4, "high": 9e-3}}
    with open_storage(None, tmp_path) as storage:
        with pytest.raises(
            StudyError, match=r"(?s)study quick exists with another space:.*optim\.max_lr.*--as NEWNAME"
        ):
            open_book(study_spec(), storage, DISTRIBUTIONS, None, other, TOTAL)
        maximize = study_spec(objective={"metric": "val/recall", "direction": "maximize"})
        with pytest.raises(StudyError, match=r"objective\.direction was minimize, and is maximize"):
            open_book(maximize, storage, DISTRIBUTIONS, None, SPACE, TOTAL)


def test_a_study_that_another_program_made_is_refused(tmp_path: Path) -> None:
    with open_storage(None, tmp_path) as storage:
        optuna.create_study(storage=storage.storage, study_name="quick").ask()
        with pytest.raises(StudyError, match="it was not made by clipexp"):
            open_book(study_spec(), storage, DISTRIBUTIONS, None, SPACE, TOTAL)


def test_an_exhausted_grid_has_no_further_suggestion(storage_uri: str | None, tmp_path: Path) -> None:
    grid = [{"optim.max_lr": lr, "log2(optim.batch_size)": 8} for lr in (1e-3, 2e-3)]
    with open_storage(storage_uri, tmp_path) as storage:
        book = open_book(study_spec(sampler={"kind": "grid"}), storage, DISTRIBUTIONS, grid, SPACE, TOTAL)
        suggestions = [book.ask(), book.ask(), book.ask()]
        assert [s is None for s in suggestions] == [False, False, True]
        book.requeue(0)
        assert ask(book) == 0


@pytest.mark.slow
def test_the_book_goes_on_when_postgresql_is_restarted(
    postgres_uri: str, postgres_server: Server, tmp_path: Path
) -> None:
    """A restart at each of its acts, cold and in the midst."""
    with opened(postgres_uri, tmp_path) as book:
        number = ask(book)
        for act in (
            lambda: book.report(number, 100, 2.0),
            lambda: book.note(number, run="abc"),
            lambda: book.should_prune(number),
            lambda: book.tell_finished(number, 1.0),
            lambda: ask(book),
        ):
            postgres_server.stop()
            starting = threading.Timer(0.7, postgres_server.start)
            starting.start()
            act()
            starting.join()
        assert states(book) == ["COMPLETE", "RUNNING"]
        assert book.trials()[0].intermediate_values == {100: 2.0}
        with open_storage(postgres_uri, tmp_path) as other, pytest.raises(StudyError, match="carried out by"):
            other.hold("quick")


def test_an_answer_that_is_lost_has_its_effect_once(
    storage_uri: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(storage_uri, tmp_path) as book:
        kept, lost = book.study._storage, list[str]()
        for name in ("create_new_trial", "set_trial_state_values", "set_trial_intermediate_value", "set_trial_param"):
            monkeypatch.setattr(kept, name, losing_answers(getattr(kept, name), lost))
        for value in (1.0, 2.0, 3.0):
            number = ask(book)
            book.report(number, 100, value)
            if value < 2:
                book.requeue(number)
                number = ask(book)
            book.tell_finished(number, value)
        assert states(book) == ["COMPLETE"] * 3
        assert [trial.value for trial in book.trials()] == [1.0, 2.0, 3.0]
        assert all(trial.params.keys() == DISTRIBUTIONS.keys() for trial in book.trials())
        assert len(set(lost)) == 4  # of each kind


def losing_answers(original: Any, lost: list[str]) -> Any:
    """What is asked is done, and two in five answers, the first among them, never come."""
    chance = random.Random(0)

    def call(*args: Any, **kwargs: Any) -> Any:
        answer = original(*args, **kwargs)
        if original.__name__ not in lost or chance.random() < 0.4:
            lost.append(original.__name__)
            raise ConnectionError("the answer was lost")
        return answer

    return call


def test_a_storage_that_goes_away_for_good_ends_in_an_error(
    postgres_uri: str, postgres_server: Server, tmp_path: Path
) -> None:
    with opened(postgres_uri, tmp_path, patience_s=1) as book:
        ask(book)
        postgres_server.stop()
        try:
            began_s = time.monotonic()
            with pytest.raises(StudyError, match=r"storage postgresql://clipexp:\*\*\*@.* does not answer .* again"):
                book.tell_finished(0, 1.0)
            assert time.monotonic() - began_s < 10
        finally:
            postgres_server.start()
    with opened(postgres_uri, tmp_path) as book:
        assert book.requeue_running() == [0]


def drive(uri: str | None, folder: Path, told: Path, begun: "multiprocessing.connection.Connection") -> None:
    """A driver with two trials under way, which writes down what it has told, until it is killed."""
    with opened(uri, folder) as book:
        book.requeue_running()
        begun.send(True)
        while True:
            for number in [ask(book), ask(book)]:
                for samples in (100, 300, 900):
                    book.report(number, samples, float(number + samples))
                if number % 5 == 3:
                    book.tell_infeasible(number, "out of memory")
                elif number % 5 == 4:
                    book.tell_pruned(number)
                else:
                    book.tell_finished(number, float(number))
                with told.open("a") as file:
                    file.write(f"{number}\n")


def drive_and_kill(uri: str | None, folder: Path, told: Path, after_s: float) -> None:
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload([__name__])
    heard, begun = forking.Pipe(duplex=False)
    child = forking.Process(target=drive, args=(uri, folder, told, begun))
    child.start()
    begun.close()
    assert heard.recv()
    time.sleep(after_s)
    child.kill()
    child.join(10)
    assert child.exitcode == -signal.SIGKILL


@pytest.mark.slow
def test_a_driver_killed_again_and_again_tells_each_trial_once_and_loses_none(
    storage_uri: str | None, tmp_path: Path
) -> None:
    told = tmp_path / "told"
    told.touch()
    chance, kills = random.Random(0), 12
    for _ in range(kills):
        drive_and_kill(storage_uri, tmp_path, told, chance.uniform(0.0, 1.0 if storage_uri else 0.5))
    with opened(storage_uri, tmp_path) as book:
        left = book.requeue_running()
        assert len(left) <= 2
        for number in left:
            assert ask(book) == number
            book.tell_finished(number, -1.0)
        trials = [trial for trial in book.trials() if trial.value != -1.0]
        # a kill between a tell and its line leaves a trial told without a line; a line twice would be told twice
        lines = [int(line) for line in told.read_text().splitlines()]
        assert len(lines) == len(set(lines)) > 5
        assert len(trials) - len(lines) <= kills
        assert [trial.number for trial in book.trials()] == list(range(len(trials) + len(left)))
        for trial in trials:
            kind = trial.number % 5
            assert trial.state == (TrialState.PRUNED if kind in (3, 4) else TrialState.COMPLETE)
            assert trial.params.keys() == DISTRIBUTIONS.keys()
            assert trial.intermediate_values == {s: float(trial.number + s) for s in (100, 300, 900)}
            assert ("infeasible" in trial.user_attrs) == (kind == 3)
