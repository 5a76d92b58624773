"""Fits the coefficients from which nablafx.layers.rational starts, and writes them beside that module.

Each entry is the minimax fit on [-3, 3] of

    y = Σ_{i=0..m} a_i x^i / (1 + Σ_{j=1..n} b_j |x|^j),    b_j >= MIN_DENOMINATOR

among those that stay within TAIL of the function up to |x| = 100. A fit of [-3, 3] alone says nothing of the
outside, where a gain of +40 dB takes full scale: the best tanh of degrees 4/3 is 12.5 at x = 100.
With the signs of b fixed the problem is quasi-convex, so the answer is the best of its form, not a local one.

Run: python scripts/fit_rational.py [output.json]
Reference: Barrodale, Powell, Roberts, "The differential correction algorithm for rational l∞-approximation",
SIAM J. Numer. Anal. 9 (3), 1972.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linprog
from scipy.special import erf, expit

OUTPUT = Path(__file__).parents[1] / "nablafx" / "layers" / "rational.json"
DEGREES = [(4, 3), (5, 4), (6, 5)]
CORE, REACH = 3.0, 100.0
MIN_DENOMINATOR = 1e-6  # sgn(0) = 0: a coefficient of exactly zero would never learn
DIGITS = 9  # all that float32 can tell apart


@dataclass(frozen=True)
class Function:
    """A target. Odd ones get a numerator without even powers."""

    value: Callable[[np.ndarray], np.ndarray]
    bounded: bool
    odd: bool = False
    largest_b: float = 50.0  # keeps the linear programs bounded


FUNCTIONS = {
    "tanh": Function(np.tanh, bounded=True, odd=True),
    "sigmoid": Function(expit, bounded=True),
    "relu": Function(lambda x: np.maximum(x, 0.0), bounded=False),
    "leaky_relu": Function(lambda x: np.where(x > 0, x, 0.01 * x), bounded=False),
    "gelu": Function(lambda x: 0.5 * x * (1.0 + erf(x / np.sqrt(2.0))), bounded=False),
    "silu": Function(lambda x: x * expit(x), bounded=False),
    # x (1 + b x²) / (1 + b x²) is exact for any b. The larger b, the less MIN_DENOMINATOR hurts, but a huge b
    # would leave the coefficient of x without gradient
    "identity": Function(lambda x: x, bounded=False, odd=True, largest_b=1.0),
}

# What a fit may miss between |x| = 3 and 100: absolute for bounded functions, a fraction of |x| for others.
# At ±∞ a rational is either odd or even and a relu is neither, so half of |x| is all that one can ask there;
# degrees 4/3 have no room for both rails of a sigmoid, and 6/5 give those of a tanh for next to nothing.
TAIL = {"bounded": 0.05, "unbounded": 0.6}
TAIL_OF = {
    ("tanh", (6, 5)): 0.005,
    ("sigmoid", (4, 3)): 0.2,
    ("identity", (4, 3)): 0.05,
    ("identity", (5, 4)): 0.05,
    ("identity", (6, 5)): 0.05,
}


def rational(x: np.ndarray, numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """The formula above, power by power."""
    p = sum(a * x**i for i, a in enumerate(numerator))
    q = 1.0 + sum(abs(b * x**j) for j, b in enumerate(denominator, start=1))
    return p / q


def fit(
    function: Function, degrees: tuple[int, int], tail: float, iterations: int = 60
) -> tuple[np.ndarray, np.ndarray]:
    """Differential correction: each step is a linear program that lowers the largest error in the core."""
    x, core = _grid()
    y = function.value(x)
    tolerance = tail * (1.0 if function.bounded else np.abs(x))
    powers = [i for i in range(degrees[0] + 1) if i % 2 or not function.odd]
    a_columns = np.stack([x**i for i in powers], axis=1)
    b_columns = np.stack([np.abs(x) ** j for j in range(1, degrees[1] + 1)], axis=1)

    b = np.full(degrees[1], 0.1)
    best, stalls, found = np.abs(y[core]).max(), 0, None
    for _ in range(iterations):
        limit = np.where(core, best, tolerance)
        step = _step(y, a_columns, b_columns, b, limit, core, function.largest_b)
        if step is None:
            break
        a, b = step
        error = np.abs(y - a_columns @ a / (1.0 + b_columns @ b))[core].max()
        stalls = stalls + 1 if found is not None and error > 0.999 * best else 0
        if found is None or error < best:
            best, found = error, (a, b)
        if stalls == 3:
            break
    if found is None:
        raise ValueError(f"degrees {degrees}: no rational stays within {tail} of the function outside the core")
    numerator = np.zeros(degrees[0] + 1)
    numerator[powers] = found[0]
    return _rounded(numerator), _rounded(found[1])


def _grid() -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev points inside, where the error oscillates; logarithmic ones outside."""
    inside = CORE * np.sin(np.linspace(-np.pi / 2, np.pi / 2, 401))
    outside = np.geomspace(CORE, REACH, 120)
    core = np.repeat([False, True, False], [len(outside), len(inside), len(outside)])
    return np.concatenate([-outside[::-1], inside, outside]), core


def _step(y, a_columns, b_columns, b, limit, core, largest_b) -> tuple[np.ndarray, np.ndarray] | None:
    """Minimise t subject to |y Q - P| - limit Q <= t q in the core, and <= 0 outside it.

    P and Q are linear in what is sought, and q is the denominator made of the coefficients b found before.
    Rows are divided by q: that makes them errors of y, and keeps 100^6 out of the solver.
    None: infeasible, or the gain left is below what the solver resolves.
    """
    q = 1.0 + b_columns @ b
    rows, bounds = [], []
    for sign in (1.0, -1.0):
        slope = sign * y - limit
        row = np.concatenate([-sign * a_columns, slope[:, None] * b_columns, -(core * q)[:, None]], axis=1)
        rows.append(row / q[:, None])
        bounds.append(-slope / q)
    num_a, num_b = a_columns.shape[1], b_columns.shape[1]
    result = linprog(
        np.r_[np.zeros(num_a + num_b), 1.0],
        A_ub=np.concatenate(rows),
        b_ub=np.concatenate(bounds),
        bounds=[(None, None)] * num_a + [(MIN_DENOMINATOR, largest_b)] * num_b + [(None, None)],
        method="highs",
        options={"primal_feasibility_tolerance": 1e-9, "dual_feasibility_tolerance": 1e-9},
    )
    if result.x is None:
        return None
    return result.x[:num_a], result.x[num_a:-1]


def _rounded(values: np.ndarray) -> np.ndarray:
    return np.array([float(f"{value:.{DIGITS}g}") for value in values])


def tail_of(name: str, degrees: tuple[int, int]) -> float:
    """The tail that the stored fit of `name` keeps to."""
    kind = "bounded" if FUNCTIONS[name].bounded else "unbounded"
    return TAIL_OF.get((name, degrees), TAIL[kind])


def largest_errors(function: Function, numerator: np.ndarray, denominator: np.ndarray) -> tuple[float, float]:
    """Largest |y - f(x)| in the core, and from there to |x| = 100, on a far finer grid than the fit's."""
    x = np.linspace(-REACH, REACH, 400_001)
    error = np.abs(rational(x, numerator, denominator) - function.value(x))
    core = np.abs(x) <= CORE
    return float(error[core].max()), float(error[~core].max())


def main(output: Path = OUTPUT) -> None:
    """Fit everything, print what it costs, write the file."""
    table: dict[str, dict[str, dict[str, list[float]]]] = {}
    print(f"{'':10} {'':4} {'error in [-3, 3]':>18} {'(tail left free)':>18} {'error to ±100':>14}")
    for name, function in FUNCTIONS.items():
        for degrees in DEGREES:
            numerator, denominator = fit(function, degrees, tail_of(name, degrees))
            inside, outside = largest_errors(function, numerator, denominator)
            unbound, _ = largest_errors(function, *fit(function, degrees, tail=1e6))
            key = f"{degrees[0]}/{degrees[1]}"
            print(f"{name:10} {key:4} {inside:18.2e} {unbound:18.2e} {outside:14.4g}")
            entry = {"numerator": numerator.tolist(), "denominator": denominator.tolist()}
            table.setdefault(name, {})[key] = entry
    output.write_text(_one_line_an_entry(table))


def _one_line_an_entry(table: dict) -> str:
    functions = (
        f"  {json.dumps(name)}: {{\n"
        + ",\n".join(f"    {json.dumps(key)}: {json.dumps(entry)}" for key, entry in entries.items())
        + "\n  }"
        for name, entries in table.items()
    )
    return "{\n" + ",\n".join(functions) + "\n}\n"


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
