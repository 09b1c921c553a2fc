"""Full-batch solvers: a function in, its minimiser out."""

from jnn.solve.drive import Solver as Solver
from jnn.solve.drive import State as State
from jnn.solve.ideas.curve import Curve as Curve
from jnn.solve.ideas.curve import error_curve as error_curve
from jnn.solve.ideas.subset import active_subset as active_subset
from jnn.solve.ideas.switching import switching as switching
from jnn.solve.least_squares import least_squares as least_squares
from jnn.solve.least_squares import norm_residual as norm_residual
from jnn.solve.linear import LinearResult as LinearResult
from jnn.solve.linear import bicgstab as bicgstab
from jnn.solve.linear import cg as cg
from jnn.solve.linear import conjugate_directions as conjugate_directions
from jnn.solve.methods.bfgs import bfgs as bfgs
from jnn.solve.methods.conjugate import nonlinear_cg as nonlinear_cg
from jnn.solve.methods.lbfgs import lbfgs as lbfgs
from jnn.solve.methods.marquardt import gauss_newton as gauss_newton
from jnn.solve.methods.marquardt import levenberg_marquardt as levenberg_marquardt
from jnn.solve.methods.marquardt import svd_solve as svd_solve
from jnn.solve.methods.newton import newton_cg as newton_cg
from jnn.solve.methods.powell import powell as powell
from jnn.solve.methods.steepest import steepest_descent as steepest_descent
from jnn.solve.minimize import minimize as minimize
from jnn.solve.result import History as History
from jnn.solve.result import Progress as Progress
from jnn.solve.result import Result as Result
from jnn.solve.result import Tolerance as Tolerance
