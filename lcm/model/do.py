"""do(z_i = value): perfect interventions that a user chooses (docs/theory.md section 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from lcm.model.names import variable_of
from lcm.model.noise import Noise


@final
@dataclass(frozen=True)
class Do:
    """A perfect intervention do(z_i = value_i, …) on one or several targets.

    `values` maps a 0-based variable to a number (hard) or to a one-variable `Noise`, drawn afresh for every
    row (stochastic). On a circle variable every value is taken modulo 2π.

    Example:
        >>> import lcm
        >>> result = lcm.fit("data/sample.safetensors", model="linear", quiet=True)
        >>> x_if = result.counterfactual([[0.0, 0.0, 0.0]], lcm.Do({0: 1.5}))
        >>> result.encode(x_if).round(3)[0, 0]
        np.float32(1.5)
    """

    values: Mapping[int, float | Noise]

    def __post_init__(self) -> None:
        """Raise ValueError for a variable that is not a number, such as its name."""
        for variable in self.values:
            if not hasattr(variable, "__index__"):
                raise ValueError(
                    f"Expected variables by their numbers; got {variable!r}."
                    f" The methods of a result take names: result.counterfactual(x, {{{variable!r}: 1.0}})."
                )

    def imposed(self, n: int, n_rows: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """Target mask (n_rows, n) and imposed values float64 (n_rows, n), 0 where not a target.

        Raises:
            ValueError: a target out of range, a value that is not finite, or a stochastic value without a generator.
        """
        targets = torch.zeros(n_rows, n, dtype=torch.bool)
        values = torch.zeros(n_rows, n, dtype=torch.float64)
        for variable, value in self.values.items():
            if not 0 <= variable < n:
                raise ValueError(f"Expected intervention targets in 0..{n - 1}; got {variable}.")
            if not isinstance(value, Noise) and not math.isfinite(value):
                raise ValueError(f"Expected a finite value for variable {variable}; got {value}.")
            if isinstance(value, Noise) and generator is None:
                raise ValueError("Expected a generator for a stochastic intervention; got None.")
            targets[:, variable] = True
            drawn = value.sample(n_rows, generator)[:, 0] if isinstance(value, Noise) and generator else value
            values[:, variable] = drawn  # type: ignore[assignment]
        return targets, values


def as_do(asked: Do | Mapping[Any, float | Noise], names: Sequence[str]) -> Do:
    """An intervention as it is, or from values by the numbers or the names of variables.

    Raises:
        ValueError: neither, a name that no variable has, or two values of one variable.
    """
    if isinstance(asked, Do):
        return asked
    if not isinstance(asked, Mapping):
        raise ValueError(f"Expected lcm.Do({{0: 1.0}}), or values by number or name such as {{0: 1.0}}; got {asked!r}")
    values: dict[int, float | Noise] = {}
    for variable, value in asked.items():
        found = variable_of(variable, names) if isinstance(variable, str) else variable
        if found is None:
            raise ValueError(f"Expected a variable of {', '.join(names)}; got {variable!r}")
        if found in values:
            raise ValueError(f"Expected one value for each variable; got two for variable {found}")
        values[found] = value
    return Do(values)
