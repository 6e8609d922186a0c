"""Scenario: what exists (people, devices, servers, radio, networks), declared in a file or drawn at random."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgealloc.catalog import Catalog
from edgealloc.core.weights import Weights
from edgealloc.errors import DataError, Fault
from edgealloc.scenarios.checks import check_document
from edgealloc.scenarios.deployment.generate import random_deployment
from edgealloc.scenarios.faults import problem_faults
from edgealloc.scenarios.files import read_mapping
from edgealloc.scenarios.fine_tuning.generate import random_fleet
from edgealloc.scenarios.generate import random_scenario
from edgealloc.scenarios.kinds import kind_named
from edgealloc.scenarios.pool_training.generate import random_pool
from edgealloc.scenarios.schema import LAST_KEYS

if TYPE_CHECKING:
    from edgealloc.core.constraints import Diagnosis
    from edgealloc.formulations.deployment.problem import Deployment
    from edgealloc.formulations.fine_tuning.problem import FineTuning
    from edgealloc.formulations.pool_training.problem import PoolTraining
    from edgealloc.formulations.split_training.problem import SplitTraining
    from edgealloc.scenarios.repair import FileChange
    from edgealloc.scenarios.report import Number

__all__ = ["Scenario"]


class Scenario:
    """A checked scenario; make one with `random`, `random_pool`, `random_fleet`, `random_deployment`, `load` or
    `from_mapping`.

    Attributes
    ----------
    document : pydantic model
        The declaration, checked, with defaults filled in; its class depends on the kind.
    catalog : Catalog
        The package's catalog with the scenario's own entries.
    folder : Path
        Where relative names of files in it start.
    gains : ndarray (N, M) or None
        Measured gains, if it names a file of them.
    path : Path or None
        The file it came from.

    Examples
    --------
    >>> scenario = Scenario.random(users=6, servers=2, seed=1)
    >>> problem = scenario.split_training()
    >>> problem.users, problem.servers, problem.layers
    (6, 2, 16)
    """

    __slots__ = ("catalog", "document", "folder", "gains", "path")

    document: Any
    catalog: Catalog
    folder: Path
    gains: npt.NDArray[np.float64] | None
    path: Path | None

    @classmethod
    def from_mapping(cls, raw: Mapping[str, Any], folder: str | Path = ".", source: str = "scenario") -> Scenario:
        """Check a declaration in the form of a file's content.

        Parameters
        ----------
        raw : mapping
            Keys as in a file.
        folder : path
            Where relative names of gain files start.
        source : str
            Named in the error.

        Returns
        -------
        Scenario

        Raises
        ------
        DataError
            With every fault that can be found.
        """
        self = cls.__new__(cls)
        self.folder, self.path = Path(folder), None
        self.document, self.catalog, self.gains = check_document(raw, self.folder, source)
        return self

    @classmethod
    def random(
        cls,
        users: int = 50,
        servers: int = 5,
        model: str | None = None,
        load: str | None = None,
        seed: int = 0,
        preset: str = "physical",
        *,
        deadline: float | str | None = None,
        users_per_server: int | None = None,
        server_memory: bool = False,
        **model_options: Any,
    ) -> Scenario:
        """Draw a scenario: phones and edge servers of the catalog in an urban micro cell, or the paper's setting.

        Preset "physical": users are uniform in a square with one server per 200 m x 200 m cell, on a jittered grid;
        channels are TR 38.901 UMi at 3.5 GHz with shadowing; servers are T4, L4 and Jetson AGX Orin class.

        Preset "paper": section 6 of Liu & Zhao, literally, as `docs/liu_zhao_2024.md` explains; the paper has 50 users
        and 10 servers. `assumptions` says what the paper leaves open and what was chosen.

        Parameters
        ----------
        users, servers : int
        model : str, optional
            Catalog name; "llama3.2-1b", or the paper's model, by default.
        load : {"proportional", "congested"}, optional
            Of the physical setting only. Proportional, the default: a server has 100 MHz and its nominal accelerators
            (13 to 36 TFLOP/s effective) per 50 users that it would serve on average, so that (100000, 50) is as loaded
            per user as (50, 5). With fewer users the share is what the site sets aside for this service; with more, the
            site has several boards. Congested: a quarter of that.
        seed : int
            The same seed gives the same problem, bit for bit.
        preset : {"physical", "paper"}
        deadline : float or str, optional
            Longest time of a user's step, in seconds or with a unit ("2 s"): ``limits.deadline``.
        users_per_server : int, optional
            Most users of every server: ``users_max``.
        server_memory : bool
            What servers train must fit into their memory: ``limits.server_memory``.
        **model_options
            Further keys of [model], such as ``batch=4``.

        Returns
        -------
        Scenario

        Raises
        ------
        DataError
            Faulty arguments, all of them at once.
        """
        raw = random_scenario(
            users,
            servers,
            model,
            load,
            seed,
            preset,
            deadline=deadline,
            users_per_server=users_per_server,
            server_memory=server_memory,
            **model_options,
        )
        return cls.from_mapping(raw, source="Scenario.random")

    @classmethod
    def random_pool(
        cls,
        devices: int = 6,
        model: str | None = None,
        network: str = "wifi",
        seed: int = 0,
        **model_options: Any,
    ) -> Scenario:
        """Draw a pool of mixed boards and phones of the catalog that train one model together.

        Parameters
        ----------
        devices : int
        model : str, optional
            Catalog name; "gpt2-large" by default.
        network : {"wifi", "switch", "line", "mesh"}
            One Wi-Fi channel of 300 Mbit/s, or Gigabit Ethernet.
        seed : int
            The same seed gives the same problem, bit for bit; more devices are the same ones and others.
        **model_options
            Further keys of [model], such as ``batch=32``.

        Returns
        -------
        Scenario

        Raises
        ------
        DataError
            Faulty arguments, all of them at once.

        Examples
        --------
        >>> pool = Scenario.random_pool(4, network="switch", seed=2)
        >>> pool.devices, pool.pool_training().layers
        (4, 36)
        """
        raw = random_pool(devices, model, network, seed, **model_options)
        return cls.from_mapping(raw, source="Scenario.random_pool")

    @classmethod
    def random_fleet(
        cls, jobs: int = 20, servers: int = 2, model: str | None = None, seed: int = 0, **model_options: Any
    ) -> Scenario:
        """Draw a fleet of phones and boards of the catalog that fine-tune models on their own data.

        Four kinds of job take turns: BERT and OPT on tasks for which qualities of a similar model have been published.
        One kind keeps its data on the device. Servers are L4, T4 and Jetson AGX Orin class, with one accelerator for
        five jobs.

        Parameters
        ----------
        jobs, servers : int
        model : str, optional
            Catalog name of a model that all jobs train, instead of their own.
        seed : int
            The same seed gives the same problem, bit for bit.
        **model_options
            Further keys of [model], such as ``checkpointing=True``.

        Returns
        -------
        Scenario

        Raises
        ------
        DataError
            Faulty arguments, all of them at once.

        Examples
        --------
        >>> fleet = Scenario.random_fleet(jobs=8, servers=1, seed=3)
        >>> fleet.jobs, fleet.fine_tuning().tunings
        (8, 7)
        """
        raw = random_fleet(jobs, servers, model, seed, **model_options)
        return cls.from_mapping(raw, source="Scenario.random_fleet")

    @classmethod
    def random_deployment(
        cls,
        devices: int = 50,
        servers: int = 2,
        variants: Sequence[str] | None = None,
        seed: int = 0,
        **limits: Any,
    ) -> Scenario:
        """Draw a fleet of phones and boards of the catalog that answer queries with compact models.

        Four kinds of device take turns; queries are simple, of medium complexity, and complex. Servers have A100 and L4
        accelerators, one for 400 devices.

        Parameters
        ----------
        devices, servers : int
        variants : sequence of str, optional
            Catalog names of base models, each in 8 and in 4 bits; seven models of 0.5 to 8 billion parameters by
            default.
        seed : int
            The same seed gives the same problem, bit for bit.
        **limits
            Keys of [limits], such as ``accuracy=0.7``.

        Returns
        -------
        Scenario

        Raises
        ------
        DataError
            Faulty arguments, all of them at once.

        Examples
        --------
        >>> fleet = Scenario.random_deployment(devices=8, servers=1, variants=["llama3.2-1b"], seed=3)
        >>> fleet.devices, fleet.deployment().variants
        (8, 2)
        """
        raw = random_deployment(devices, servers, variants, seed, **limits)
        return cls.from_mapping(raw, source="Scenario.random_deployment")

    @classmethod
    def load(cls, path: str | Path) -> Scenario:
        """Read a scenario from a TOML, YAML or JSON file.

        Parameters
        ----------
        path : path
            Ends in ``.toml``, ``.yaml``, ``.yml`` or ``.json``.

        Returns
        -------
        Scenario

        Raises
        ------
        DataError
            Unreadable, or with every fault of its content.
        """
        file = Path(path)
        scenario = cls.from_mapping(read_mapping(file), folder=file.parent, source=str(path))
        scenario.path = file
        return scenario

    def save(self, path: str | Path, *, comments: bool = True) -> Path:
        """Write the scenario as TOML; loading it gives the same problem bit for bit.

        Parameters
        ----------
        path : path
            Ends in ``.toml``. An existing file is replaced only when everything is written.
        comments : bool
            Explain the keys.

        Returns
        -------
        Path
            The file.

        Raises
        ------
        DataError
            Another suffix, or the place cannot be written.
        """
        from edgealloc.scenarios.writing import write_toml

        return write_toml(self, Path(path), comments=comments)

    # ---- problems ----------------------------------------------------------------------------------------------------

    def split_training(self, weights: Weights | None = None, **overrides: Any) -> SplitTraining:
        """The split fine-tuning problem (Liu & Zhao) of this scenario.

        Parameters
        ----------
        weights : Weights, optional
            Instead of the scenario's. Without a reference of their own they are relative to the scenario's: the average
            delay, energy and instability of a user under the reference allocation (best-gain server, cut in the middle,
            equal shares, full power and clock).
        **overrides
            Fields of `SplitTraining` to replace, such as ``stability_limit=0.01``.

        Raises
        ------
        DataError
            Faulty overrides, or a scenario of another kind.
        """
        problem: SplitTraining = self._built("split-training", weights, overrides)
        return problem

    def pool_training(self, weights: Weights | None = None, **overrides: Any) -> PoolTraining:
        """The problem of training one model on a pool of devices (Zeng et al.) of this scenario.

        Parameters
        ----------
        weights : Weights, optional
            Instead of the scenario's. Without a reference of their own they are relative to the scenario's: time and
            energy of an iteration on the fastest device alone, as if the model fitted into its memory.
        **overrides
            Fields of `PoolTraining` to replace, such as ``deadline_s=2.0``.

        Raises
        ------
        DataError
            Faulty overrides, or a scenario of another kind.
        """
        problem: PoolTraining = self._built("pool-training", weights, overrides)
        return problem

    def fine_tuning(self, weights: Weights | None = None, **overrides: Any) -> FineTuning:
        """The problem of which fine-tuning method runs where (Dong et al.) of this scenario.

        Parameters
        ----------
        weights : Weights, optional
            Instead of the scenario's. Without a reference of their own they are relative to the scenario's: time and
            energy of the fastest method and place of every job on average, whatever its limits.
        **overrides
            Fields of `FineTuning` to replace, such as ``deadline_s=3600.0``.

        Raises
        ------
        DataError
            Faulty overrides, or a scenario of another kind.
        """
        problem: FineTuning = self._built("fine-tuning", weights, overrides)
        return problem

    def deployment(self, weights: Weights | None = None, **overrides: Any) -> Deployment:
        """The problem of which compact model every device gets, and what it offloads (Zhang et al.), of this scenario.

        Parameters
        ----------
        weights : Weights, optional
            Instead of the scenario's. Without a reference of their own they are relative to the scenario's: time and
            energy of the fastest answer to every query on average, whatever its limits.
        **overrides
            Fields of `Deployment` to replace, such as ``energy_limit_j=20.0``.

        Raises
        ------
        DataError
            Faulty overrides, or a scenario of another kind.
        """
        problem: Deployment = self._built("deployment", weights, overrides)
        return problem

    def problem(self) -> Any:
        """The problem of the kind that the scenario declares."""
        return self._built(self.kind, None, {})

    def _built(self, kind: str, weights: Weights | None, overrides: Mapping[str, Any]) -> Any:
        """The problem of a kind, which must be the declared one."""
        name = self.name or (self.path.stem if self.path else "")
        where = str(self.path or name or "scenario")
        if kind != self.kind:
            maker = f"scenario.{self.kind.replace('-', '_')}()"
            said = f"is '{self.kind}', not '{kind}'; use {maker}, or scenario.problem() for the kind that is declared"
            raise DataError([Fault("problem", said)], where)
        parts = kind_named(kind)
        try:
            problem = parts.build(self, name, weights)
        except DataError as error:
            raise DataError(problem_faults(self.document, parts.schema, error.faults), where) from error
        return problem.replace(**overrides) if overrides else problem

    # ---- facts -------------------------------------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """Name of the scenario."""
        return str(self.document.name)

    @property
    def kind(self) -> str:
        """Kind of problem that it declares, such as "split-training"."""
        return str(self.document.problem)

    @property
    def users(self) -> int:
        """How many users a split-training scenario has."""
        return self._count("users")

    @property
    def servers(self) -> int:
        """How many servers a split-training, fine-tuning or deployment scenario has."""
        return self._count("servers")

    @property
    def devices(self) -> int:
        """How many devices a pool-training or deployment scenario has."""
        return self._count("devices")

    @property
    def jobs(self) -> int:
        """How many jobs a fine-tuning scenario has."""
        return self._count("jobs")

    def _count(self, what: str) -> int:
        size = kind_named(self.kind).size(self)
        if what not in size:
            raise DataError(f"a {self.kind} scenario has {' and '.join(size)}, no {what}", self.name)
        return size[what]

    def assumptions(self) -> dict[str, str]:
        """Which numbers are assumptions, and why: path of a key -> reason."""
        return {**self.document.assumptions, **kind_named(self.kind).assumptions(self)}

    def table(self) -> list[Number]:
        """Every number used, with its unit, where it is from, and how well it is known."""
        return kind_named(self.kind).numbers(self)

    def describe(self) -> str:
        """One line: who, where, which model."""
        return kind_named(self.kind).headline(self)

    # ---- changes -----------------------------------------------------------------------------------------------------

    def mapping(self) -> dict[str, Any]:
        """The declaration as plain values, only what was given: what `from_mapping` and a file take."""
        given: dict[str, Any] = self.document.model_dump(mode="python", exclude_unset=True, exclude_none=True)
        last = {key: given.pop(key) for key in LAST_KEYS if key in given}
        return given | last

    def changed(self, changes: Mapping[str, Any]) -> Scenario:
        """A new scenario with some keys set, such as ``{"limits.stability_limit": 0.02, "users.0.count":
        80}``.

        Parameters
        ----------
        changes : mapping
            Dotted path of a key -> its value.

        Raises
        ------
        DataError
            There is no such place in the scenario, or the new one has faults.
        """
        raw = copy.deepcopy(self.mapping())
        for path, value in changes.items():
            *parents, key = path.split(".")
            place: Any = raw
            for parent in parents:
                if isinstance(place, (list, tuple)):
                    if not parent.isdigit() or int(parent) >= len(place):
                        raise DataError(f"changed: there is no '{path}' in the scenario")
                    place = place[int(parent)]
                else:
                    place = place.setdefault(parent, {})
            if not isinstance(place, dict):
                raise DataError(f"changed: there is no '{path}' in the scenario")
            place[key] = value
        scenario = Scenario.from_mapping(raw, self.folder, str(self.path or "scenario"))
        scenario.path = self.path
        return scenario

    def repair(self, diagnosis: Diagnosis) -> tuple[FileChange, ...]:
        """The changes of this scenario's keys that mend an infeasible problem of it.

        Parameters
        ----------
        diagnosis : Diagnosis
            Of a solution of this scenario's problem.
        """
        return kind_named(self.kind).changes(self, diagnosis)

    def __repr__(self) -> str:
        size = ", ".join(f"{what}={count}" for what, count in kind_named(self.kind).size(self).items())
        return f"Scenario({self.name!r}, {size}, seed={self.document.seed})"
