"""Why a run should stop: the one place that training polls, and that signals, time budgets and callers speak to.

stops = Stops(budget_s=480)
with stops.on_signals():
... stops.reason()  # None, "budget", "interrupted", ...
"""

import contextlib
import signal
import time
from collections.abc import Iterator

from clipexp.events import StopReason

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stops:
    """The reason to stop one attempt at a run, if there is one; the first that comes stays.

    Args:
        budget_s: seconds after which the reason is `budget`; None: no such limit.
    """

    def __init__(self, budget_s: float | None = None) -> None:
        self._asked: StopReason | None = None
        self._num_signals = 0
        self._until_s = None if budget_s is None else time.monotonic() + budget_s
        self.is_hurried = False  # a second signal came: leave what can be left
        self.may_raise = False  # a second signal ends training where it stands

    def ask(self, reason: StopReason) -> None:
        """Have training end at its next step, with a checkpoint."""
        self._asked = self._asked or reason

    def reason(self) -> StopReason | None:
        """Why to stop now; None: go on."""
        if self._until_s is not None and time.monotonic() >= self._until_s:
            self.ask("budget")
        return self._asked

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        """Have Ctrl-C, SIGTERM and SIGHUP ask to stop; a second one hurries, a third one kills."""
        try:
            # one that is ignored stays so: nohup, and scripts that run commands in the background
            heard = [number for number in STOP_SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
            before = {number: signal.signal(number, self._on_signal) for number in heard}
        except ValueError:  # not the main thread: whoever runs us there has the signals
            before = {}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, number: int, _: object) -> None:
        self._num_signals += 1
        self.ask("interrupted")
        if self._num_signals > 1:
            self.is_hurried = True
            signal.signal(number, signal.SIG_DFL)
            if self.may_raise:
                raise KeyboardInterrupt
