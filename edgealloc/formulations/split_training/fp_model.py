r"""Cuts, power, bandwidth and clocks at a fixed association, by fractional programming: step 1 of Liu & Zhao.

With the cut relaxed to a real number the cost of users n on their servers is

.. math::

    \sum_n \alpha_n A_n(f_n) + (Y - \alpha_n + h_n) B_n(F_n) + \frac{(k_t + k_e p_n)}{r_n(b_n, p_n)} + w_s AS_n,

where :math:`A_n, B_n` are the costs of one layer on device and server and h the head in layers: two products and a
ratio, which `solvers.fractional` majorises (arXiv 2409.20247, section 5: z, q and v), and convex terms: 1/r with the
upload delay counted, and the stability bound. The rate is concave, :math:`r = b \log(1 + g p/(N_0 b))`, a relative
entropy. All variables are relative to a reference allocation (equal shares), all terms to its cost, because cone
solvers want numbers near 1.

The program is compiled once for every association: users stand in it sorted by server, and the sums of shares run along
that order as :math:`S_k = \chi_k S_{k-1} + \beta_k` with chi = 0 at the first user of a server. So an association is
a few vectors of parameters: as a matrix of them, compiling takes longer than solving from 100 users on.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from edgealloc.formulations.split_training.baselines import equal_allocation
from edgealloc.formulations.split_training.reduced import radio_weights
from edgealloc.solvers.fractional import FractionalProgram, FractionalResult, Product, Ratio

if TYPE_CHECKING:
    from edgealloc.formulations.split_training.problem import SplitTraining

__all__ = ["RelaxedModel"]

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]


class RelaxedModel:
    """Step 1 for any association of a problem: compiled once, association and scales are parameters.

    Parameters
    ----------
    problem : SplitTraining
        Deadlines, caps and server memory are not modelled here.

    Attributes
    ----------
    program : FractionalProgram
    reference_cost : float
        What the program's objective is relative to, set by `minimise`; fixed delays and fully local users come on top.
    """

    def __init__(self, problem: SplitTraining) -> None:
        import cvxpy as cp

        self.problem, self.reference_cost = problem, 1.0
        n, layers, cuts = problem.users, problem.layers, problem.cuts
        self.low = np.minimum(cuts.low, np.maximum(cuts.high, 0)) / layers
        self.high = np.maximum(cuts.high, 0) / layers
        self.cut, self.device, self.power, self.band, self.clock, self.rate = (
            cp.Variable(n, nonneg=True, name=name) for name in ("cut", "device", "power", "band", "clock", "rate")
        )
        self.parameter = p = {name: cp.Parameter(n, nonneg=True, name=name) for name in _PARAMETERS}
        per_layer = cp.multiply(p["device_time"], cp.inv_pos(self.device)) + cp.multiply(
            p["device_energy"], cp.square(self.device))
        work = cp.multiply(p["work_time"], cp.inv_pos(self.clock)) + cp.multiply(
            p["work_energy"], cp.square(self.clock)) + p["work_constant"]
        inverse = p["inverse_rate"]
        band, power = cp.multiply(inverse, self.band), cp.multiply(p["snr"], self.power)  # snr holds 1/R0, too
        fu = problem.stability.lambda_min
        curvature = 1.0 - self.cut if fu is None else fu + 2.0 * (1.0 - self.cut)
        convex = cp.sum(cp.multiply(p["per_second"], cp.inv_pos(self.rate)))
        convex += cp.sum(cp.multiply(p["unstable"], cp.inv_pos(curvature)))
        self.program = FractionalProgram(
            convex,
            products=[
                Product(self.cut, per_layer, p["on_device"]),
                Product(cp.pos(p["whole"] - self.cut), work, p["on_server"]),
            ],
            ratios=[Ratio(self.power, self.rate, p["per_joule"])],
            constraints=[
                self.cut >= p["cut_low"], self.cut <= p["cut_high"],
                self.device >= p["device_low"], self.device <= p["device_high"],
                self.power >= p["power_low"], self.power <= p["power_high"],
                self.band <= p["band_high"], self.clock <= p["clock_high"],
                *self._shared(self.band, p["band_share"], whole=False),
                *self._shared(self.clock, p["clock_share"], whole=problem.resource_sense == "exactly"),
                self.rate <= -cp.rel_entr(band, band + power),
                self.rate <= power,  # log(1 + x) <= x: at signals far below the noise the cone alone is too coarse
            ],
            compile_once=n <= _COMPILED_ONCE,
        )

    def _shared(self, share: Any, size: Any, *, whole: bool) -> list[Any]:
        """The shares of the users of every server sum to 1 at most, or exactly (`whole`)."""
        import cvxpy as cp

        total = cp.Variable(share.size, nonneg=True)
        before = cp.hstack([0.0, total[:-1]]) if share.size > 1 else np.zeros(1)
        summed = total == cp.multiply(self.parameter["keep"], before) + cp.multiply(size, share)
        if not whole:
            return [summed, total <= 1.0]
        rest = cp.Variable(share.size, nonneg=True)
        return [summed, rest <= 1.0, total + cp.multiply(self.parameter["more"], rest) == 1.0]

    def minimise(
        self, server: IntArray, cut: FloatArray, *, tolerance: float, on_iteration: Callable[[int, float], object],
        seconds_left: Callable[[], float] | None = None,
    ) -> tuple[FloatArray, FractionalResult]:
        """Relaxed cuts (N,) of a stationary point at an association; what fully local users get means nothing.

        Parameters
        ----------
        server : (N,) int
            -1 where fully local.
        cut : (N,)
            Relaxed cuts to start from, raised to half a layer where allowed, since a product whose factor is 0 has a
            majoriser that keeps it there; resources start from equal shares.
        tolerance, on_iteration, seconds_left
            See `FractionalProgram.minimise`.
        """
        layers = self.problem.layers
        cut = np.maximum(cut, _LEAST_CUT)
        order = self._set_association(server, cut)
        values = dict.fromkeys((self.device, self.power, self.band, self.clock, self.rate), np.ones(server.size))
        values[self.cut] = np.clip(cut / layers, self.low, self.high)[order]
        found = self.program.minimise(
            values, tolerance=tolerance, on_iteration=on_iteration, seconds_left=seconds_left)
        relaxed = np.empty(server.size)
        relaxed[order] = np.asarray(found.values[self.cut]) * layers
        return relaxed, found

    def _set_association(self, server: IntArray, cut: FloatArray) -> IntArray:
        """Set every parameter for an association, relative to equal shares and their cost; the order of the users."""
        problem = self.problem
        remote = server >= 0
        m = np.where(remote, server, 0)
        n = np.arange(problem.users)
        whole = np.round(np.clip(cut, self.low * problem.layers, self.high * problem.layers)).astype(np.int64)
        middle = np.where(remote, np.minimum(whole, problem.layers - 1), problem.layers)
        at = equal_allocation(problem, m, middle)
        band, clock, power, device = (
            np.where(remote, value, 1.0)
            for value in (at.bandwidth_hz, at.server_frequency_hz, np.maximum(at.power_w, 1e-9 * problem.power_max_w),
                          at.user_frequency_hz)
        )
        time, energy = (problem.weights.effective(term, problem.users) for term in ("delay", "energy"))
        stability = problem.weights.effective("stability", problem.users)
        waiting = time + energy * problem.idle_power_w
        counted, per_joule = radio_weights(problem)

        device_time = problem.layer_flops * time / (problem.user_flops_per_cycle * device)
        device_energy = problem.layer_flops * energy * problem.user_kappa * device**2 / problem.user_flops_per_cycle
        cycles = problem.layer_flops / problem.server_flops_per_cycle[m]
        work_time, work_energy, work_constant = cycles * waiting / clock, np.zeros(n.size), np.zeros(n.size)
        if problem.server_joules_per_flop is not None:
            work_constant = problem.layer_flops * energy * problem.server_joules_per_flop[m]
        else:
            work_energy = cycles * energy * problem.server_kappa[m] * clock**2
        on_device, on_server = device_time + device_energy, work_time + work_energy + work_constant
        snr = power * problem.gain[n, m] / (problem.noise_psd_w_per_hz * band)
        rate = np.log1p(np.where(remote, snr, 1.0))
        second = problem.upload_bits * np.log(2.0) / (band * rate)  # upload time at the reference
        unstable = stability * 2.0 * problem.stability.lipschitz**2 / problem.samples
        start = np.clip(cut / problem.layers, self.low, self.high)
        head = problem.head_flops / problem.layer_flops / problem.layers
        total = problem.layers * (on_device * start + on_server * (1.0 + head - start))
        total += second * (counted + per_joule * power)
        self.reference_cost = max(float(total[remote].sum()), 1e-300)
        scale = remote / self.reference_cost

        values = {
            "device_time": _share(device_time, on_device), "device_energy": _share(device_energy, on_device),
            # the best device clock depends on nothing else and is the reference: a box around 1 keeps those near it
            # whose part of the objective is below the solver's tolerance
            "device_low": np.maximum(problem.user_frequency_min_hz / device, 0.5),
            "device_high": np.minimum(problem.user_frequency_max_hz / device, 2.0),
            "on_device": scale * problem.layers * on_device,
            "work_time": _share(work_time, on_server), "work_energy": _share(work_energy, on_server),
            "work_constant": _share(work_constant, on_server), "on_server": scale * problem.layers * on_server,
            "power_low": problem.power_min_w / power, "power_high": problem.power_max_w / power,
            "band_high": problem.bandwidth_max_hz[m] / band, "clock_high": problem.server_frequency_max_hz[m] / clock,
            "inverse_rate": 1.0 / rate, "snr": snr / rate,
            "per_joule": scale * per_joule * power * second, "per_second": scale * counted * second,
            "unstable": scale * unstable,
            "cut_low": self.low, "cut_high": self.high, "whole": 1.0 + head,
            "band_share": band / problem.bandwidth_max_hz[m], "clock_share": clock / problem.server_frequency_max_hz[m],
        }  # fmt: skip
        place = np.where(remote, server, problem.servers)
        order = np.argsort(place, kind="stable")
        for name, value in values.items():
            # whoever is fully local takes no part: any box around 1 will do
            self.parameter[name].value = np.where(remote, value, _IDLE.get(name, 1.0))[order]
        run, taking = place[order], remote[order]
        same = run[1:] == run[:-1]
        self.parameter["keep"].value = (np.concatenate([[False], same]) & taking).astype(np.float64)
        # all but the last user of a server leave something to the others
        self.parameter["more"].value = (np.concatenate([same, [False]]) | ~taking).astype(np.float64)
        return order


#: Layers; see `RelaxedModel.minimise`.
_LEAST_CUT: Final = 0.5
#: Up to this many users the compiled program is kept; see `FractionalProgram`.
_COMPILED_ONCE: Final = 120

_PARAMETERS: Final = (
    "device_time", "device_energy", "device_low", "device_high", "on_device", "work_time", "work_energy",
    "work_constant", "on_server", "power_low", "power_high", "band_high", "clock_high", "inverse_rate", "snr",
    "per_joule", "per_second", "unstable", "cut_low", "cut_high", "whole", "band_share", "clock_share", "keep", "more",
)
#: What the parameters of users that train fully locally are; 1 where not named.
_IDLE: Final = dict.fromkeys(
    ("on_device", "on_server", "per_joule", "per_second", "unstable", "band_share", "clock_share"), 0.0
) | {
    "device_low": 0.5, "device_high": 2.0, "power_low": 0.5, "power_high": 2.0, "band_high": 2.0, "clock_high": 2.0,
}


def _share(part: FloatArray, whole: FloatArray) -> FloatArray:
    return np.where(whole > 0.0, part / np.where(whole > 0.0, whole, 1.0), 1.0)
