"""`ActionController`, which steers an agent's temperature or votes towards an action."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from detailed_balance.analyzers import MeasuredAction, Potential, TransitionCounts, measure_action
from detailed_balance.analyzers.errors import InvalidInputError
from detailed_balance.analyzers.potential.held_out_action import potential_shape
from detailed_balance.analyzers.results import plain

__all__ = ["ActionController", "ControlStep"]

_KEPT = 1_000
_SLOPES = 4.0  # how far the slope that is learnt may be from the one assumed, as a factor
_SIGNIFICANT = 3.0


@dataclass(frozen=True, slots=True)
class ControlStep:
    """One window of an `ActionController`.

    Parameters
    ----------
    setting : float
        The setting under which its transitions were made.
    measured : MeasuredAction
        Their action.
    """

    setting: float
    measured: MeasuredAction


class ActionController:
    r"""Steer a setting of an agent towards a wanted action while the agent runs.

    Each `window` transitions the action is measured (`measure_action`: with a potential of fixed
    shape and fitted depth, since the least action of a window's own counts is too low) and the
    setting moves: log setting -= error / (k slope), where error = action / target - 1. This is
    the stochastic approximation of Robbins and Monro; the slope is learnt by least squares from
    the windows so far (Lai and Robbins), within a factor of 4 of 1 / `gain`; k counts the changes
    of the error's sign (Kesten), so that steps stay long on the way and shrink about the target.

    Parameters
    ----------
    target : float
        The normalised action to reach, in units of K(0): above 0 and below 1.
    potential : Potential or mapping of str to float
        beta V by state, estimated from a record made before; see `measure_action`.
    setting : (float, float)
        The lowest and the highest setting allowed, both above 0.
    initial : float, optional
        The first setting; by default the geometric mean of the two.
    window : int
        The transitions under each setting; more than there are states, for else some states are
        not left in it.
    gain : float
        By what share to change the setting, at first, for each share that the action is off.
        Negative where a higher setting lowers the action, as votes do.
    memory : int
        The slope is learnt from so many windows, and steps shrink to 1 / memory of full ones and no
        further, so that an agent that changes is followed.
    integer : bool
        Whether the setting is a whole number, such as the votes needed. Where the target lies
        between two of them, the setting goes from one to the other.

    Raises
    ------
    InvalidInputError
        Where an argument has a value that is not allowed.

    References
    ----------
    Robbins and Monro, Ann. Math. Statist. 22 (1951) 400; Kesten, Ann. Math. Statist. 29 (1958)
    41; Lai and Robbins, Ann. Statist. 7 (1979) 1196.

    Examples
    --------
    >>> control = ActionController(0.3, {"a": 1.0, "b": 0.0}, setting=(0.2, 2.0), window=400)
    >>> control.update("a", "b", count=200)
    >>> control.update("b", "a", count=200)
    >>> round(control.action, 3), round(control.setting, 4)  # as much up as down: cool
    (1.001, 0.2327)
    """

    def __init__(
        self,
        target: float,
        potential: Potential | Mapping[str, float],
        *,
        setting: tuple[float, float],
        initial: float | None = None,
        window: int = 1_000,
        gain: float = 1.0,
        memory: int = 20,
        integer: bool = False,
    ) -> None:
        low, high = setting
        _check(0 < target < 1, "target", target, "the normalised action lies between 0 and K(0), 1")
        _check(0 < low < high < math.inf, "setting", setting, "0 < low < high is wanted")
        initial = math.sqrt(low * high) if initial is None else initial
        _check(low <= initial <= high, "initial", initial, f"it lies in {setting}")
        _check(window >= 2, "window", window, "2 transitions or more, better 5 for each state")
        _check(gain != 0 and math.isfinite(gain), "gain", gain, "it is finite and not 0")
        whole = not integer or (float(low).is_integer() and float(high).is_integer())
        _check(whole, "setting", setting, "with integer=True both are whole numbers")
        _check(memory >= 2, "memory", memory, "2 windows or more")
        self.target, self.limits, self.window = float(target), (float(low), float(high)), window
        self.gain, self.memory, self.integer = float(gain), memory, integer
        self._shape = potential_shape(potential)
        self._place = math.log(initial)
        self._turns, self._last = 1, 0.0
        self._moves: Counter[tuple[str, str | None]] = Counter()
        self._taken = 0
        self._history: deque[ControlStep] = deque(maxlen=_KEPT)

    @property
    def setting(self) -> float:
        """What to use for the next call of the model; whole where the controller is `integer`."""
        low, high = self.limits
        value = min(max(math.exp(self._place), low), high)
        return round(value) if self.integer else value

    @property
    def action(self) -> float:
        """The normalised action of the last window; NaN before there is one."""
        return self._history[-1].measured.action if self._history else math.nan

    @property
    def error(self) -> float:
        """The standard error of `action`."""
        return self._history[-1].measured.error if self._history else math.nan

    @property
    def history(self) -> tuple[ControlStep, ...]:
        """The windows so far, the last 1,000 at most."""
        return tuple(self._history)

    def update(
        self, source: str, target: str | None, *, setting: float | None = None, count: int = 1
    ) -> None:
        """Count a transition that was made under the present setting.

        Parameters
        ----------
        source, target : str
            The states; the target None is an escape. Transitions from states that the potential
            does not have are left out, and reaching one of them is an escape.
        setting : float, optional
            Where it is known under which setting the transition was made: one that was made under
            another than the present is left out.
        count : int
            How many such transitions.
        """
        if source in self._shape and setting in (None, self.setting):
            self._moves[source, target if target in self._shape else None] += count
            self._taken += count
            if self._taken >= self.window:
                self._step()

    def check(self) -> None:
        """Say whether the target can be reached, as far as was measured.

        Raises
        ------
        InvalidInputError
            Where the setting has stayed at an end of its range for two windows or more, and the
            action there is off the target by over 3 standard errors, on the side that the end is
            to blame for. The message names the actions that were measured.
        """
        settings = [step.setting for step in reversed(self._history)]
        stayed = next((i for i, x in enumerate(settings) if x != self.setting), len(settings))
        there = [step.measured for step in list(self._history)[len(settings) - stayed :]]
        for end, name, side in zip(self.limits, ("lowest", "highest"), (-1, 1), strict=True):
            if stayed < 2 or not math.isclose(self.setting, end):
                continue
            action = float(np.mean([measured.action for measured in there]))
            error = math.hypot(*(measured.error for measured in there)) / stayed
            missing = side * math.copysign(1, self.gain) * (self.target - action)
            if missing > _SIGNIFICANT * error:
                seen = [step.measured.action for step in self._history]
                raise InvalidInputError(
                    f"target={self.target!r}; at the {name} setting allowed, {end:g}, the action "
                    f"is {action:.3g} +- {error:.2g}. Actions from {min(seen):.3g} to "
                    f"{max(seen):.3g} were measured: take a target between them, or allow other "
                    "settings"
                )

    def _step(self) -> None:
        edges = [(f, g, n) for (f, g), n in self._moves.items()]
        self._moves.clear()
        self._taken = 0
        measured = measure_action(TransitionCounts.from_edges(edges), self._shape)
        self._history.append(ControlStep(self.setting, measured))
        error = min(measured.action / self.target - 1, 1.0)
        if error * self._last < 0:
            self._turns = min(self._turns + 1, self.memory)
        self._last = error
        low, high = np.log(self.limits)
        step = error / (self._turns * self._slope())
        self._place = float(np.clip(self._place - step, low, high))

    def _slope(self) -> float:
        """Return d(action / target) / d(log setting) by least squares, near what was assumed."""
        recent = list(self._history)[-self.memory :]
        x = np.log([step.setting for step in recent])
        y = np.array([step.measured.action for step in recent]) / self.target
        spread = float(((x - x.mean()) ** 2).sum())
        if spread == 0:
            return 1 / self.gain
        found = self.gain * float((x - x.mean()) @ y) / spread  # in units of what was assumed
        return min(max(found, 1 / _SLOPES), _SLOPES) / self.gain

    def to_dict(self) -> dict[str, Any]:
        """Return settings and state in types that JSON has, for `from_dict`."""
        edges = [[f, g, n] for (f, g), n in self._moves.items()]
        return {
            "target": self.target,
            "potential": self._shape,
            "setting": list(self.limits),
            "window": self.window,
            "gain": self.gain,
            "memory": self.memory,
            "integer": self.integer,
            "state": {
                "place": self._place,
                "turns": self._turns,
                "last": self._last,
                "moves": edges,
                "history": [plain(step) for step in self._history],
            },
        }

    @classmethod
    def from_dict(cls, state: Mapping[str, Any]) -> ActionController:
        """Go on where `to_dict` stopped."""
        options = {name: state[name] for name in ("window", "gain", "memory", "integer")}
        low, high = state["setting"]
        made = cls(state["target"], state["potential"], setting=(low, high), **options)
        kept = state["state"]
        made._place, made._turns, made._last = kept["place"], kept["turns"], kept["last"]
        made._moves = Counter({(f, g): n for f, g, n in kept["moves"]})
        made._taken = made._moves.total()
        for step in kept["history"]:
            fields = {name: value for name, value in step["measured"].items() if name != "name"}
            fields["error"] = math.nan if fields["error"] is None else fields["error"]
            made._history.append(ControlStep(step["setting"], MeasuredAction(**fields)))
        return made


def _check(holds: bool, name: str, value: object, allowed: str) -> None:
    if not holds:
        raise InvalidInputError(f"{name}={value!r}; {allowed}")
