"""Published test problems: starts, values and minima that the solvers are measured on."""
