"""The papers' system model as pure functions: arrays in, arrays out, SI units, the unit in every name.

``radio`` and ``pathloss`` (rates, gains), ``compute`` (delay and energy of FLOP), ``transformer`` (parameters and
FLOP of a model), ``memory`` (bytes on a device as a function of the cut), ``layers`` (work and bytes layer by layer)
and ``stability`` (what more local layers cost in generalisation). Nothing here knows of users, servers, files or
solvers.
"""
