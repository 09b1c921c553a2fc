"""jnn: neural networks in JAX in which every derivative is written by hand."""

from typing import TYPE_CHECKING as _TYPE_CHECKING
from typing import Any as _Any

from jnn import data as data
from jnn import errors as errors
from jnn import estimators as estimators
from jnn import layers as layers
from jnn import linesearch as linesearch
from jnn import models as models
from jnn import optim as optim
from jnn import rules as rules
from jnn import solve as solve
from jnn import train as train
from jnn import tree as tree
from jnn import tuning as tuning
from jnn import types as types
from jnn import verify as verify
from jnn.layers import adaptive_max_pool as adaptive_max_pool
from jnn.layers import adaptive_mean_pool as adaptive_mean_pool
from jnn.layers import attention as attention
from jnn.layers import batch_norm as batch_norm
from jnn.layers import celu as celu
from jnn.layers import conv as conv
from jnn.layers import conv_transpose as conv_transpose
from jnn.layers import dense as dense
from jnn.layers import depthwise_conv as depthwise_conv
from jnn.layers import dropout as dropout
from jnn.layers import elu as elu
from jnn.layers import embedding as embedding
from jnn.layers import flatten as flatten
from jnn.layers import gated as gated
from jnn.layers import gelu as gelu
from jnn.layers import global_max_pool as global_max_pool
from jnn.layers import global_mean_pool as global_mean_pool
from jnn.layers import group_norm as group_norm
from jnn.layers import gru as gru
from jnn.layers import hard_shrink as hard_shrink
from jnn.layers import hard_sigmoid as hard_sigmoid
from jnn.layers import hard_swish as hard_swish
from jnn.layers import hard_tanh as hard_tanh
from jnn.layers import identity as identity
from jnn.layers import initialisers as initialisers
from jnn.layers import last as last
from jnn.layers import layer as layer
from jnn.layers import layer_norm as layer_norm
from jnn.layers import leaky_relu as leaky_relu
from jnn.layers import learned_positions as learned_positions
from jnn.layers import lift as lift
from jnn.layers import local_response_norm as local_response_norm
from jnn.layers import log_sigmoid as log_sigmoid
from jnn.layers import log_softmax as log_softmax
from jnn.layers import lstm as lstm
from jnn.layers import max_pool as max_pool
from jnn.layers import mean_pool as mean_pool
from jnn.layers import mish as mish
from jnn.layers import parallel as parallel
from jnn.layers import pixel_shuffle as pixel_shuffle
from jnn.layers import pixel_unshuffle as pixel_unshuffle
from jnn.layers import prelu as prelu
from jnn.layers import radial as radial
from jnn.layers import relu as relu
from jnn.layers import relu6 as relu6
from jnn.layers import repeat as repeat
from jnn.layers import residual as residual
from jnn.layers import residual_projection as residual_projection
from jnn.layers import resize as resize
from jnn.layers import rms_norm as rms_norm
from jnn.layers import selu as selu
from jnn.layers import separable_conv as separable_conv
from jnn.layers import serial as serial
from jnn.layers import share as share
from jnn.layers import sigmoid as sigmoid
from jnn.layers import silu as silu
from jnn.layers import sinusoidal_positions as sinusoidal_positions
from jnn.layers import skip as skip
from jnn.layers import soft_logistic as soft_logistic
from jnn.layers import soft_shrink as soft_shrink
from jnn.layers import softmax as softmax
from jnn.layers import softplus as softplus
from jnn.layers import softsign as softsign
from jnn.layers import subsample as subsample
from jnn.layers import summary as summary
from jnn.layers import tanh as tanh
from jnn.layers import weighted_subsample as weighted_subsample
from jnn.layers.core.layer import Layer as Layer
from jnn.models import deltas as deltas
from jnn.optim import adagrad as adagrad
from jnn.optim import adam as adam
from jnn.optim import adamax as adamax
from jnn.optim import adams_bashforth as adams_bashforth
from jnn.optim import adamw as adamw
from jnn.optim import amsgrad as amsgrad
from jnn.optim import apply_updates as apply_updates
from jnn.optim import averaged_momentum as averaged_momentum
from jnn.optim import chain as chain
from jnn.optim import chebyshev as chebyshev
from jnn.optim import damped_particle as damped_particle
from jnn.optim import full_adagrad as full_adagrad
from jnn.optim import full_rmsprop as full_rmsprop
from jnn.optim import gd as gd
from jnn.optim import heavy_ball as heavy_ball
from jnn.optim import heun as heun
from jnn.optim import lamb as lamb
from jnn.optim import lion as lion
from jnn.optim import midpoint as midpoint
from jnn.optim import momentum as momentum
from jnn.optim import muon as muon
from jnn.optim import nadam as nadam
from jnn.optim import nesterov as nesterov
from jnn.optim import radam as radam
from jnn.optim import rk4 as rk4
from jnn.optim import rmsprop as rmsprop
from jnn.optim import schedules as schedules
from jnn.optim import three_step as three_step
from jnn.rules import absolute_error as absolute_error
from jnn.rules import binary_cross_entropy as binary_cross_entropy
from jnn.rules import cross_entropy as cross_entropy
from jnn.rules import ctc as ctc
from jnn.rules import half_squared_error as half_squared_error
from jnn.rules import huber as huber
from jnn.rules import l2 as l2
from jnn.rules import linear_cross_entropy as linear_cross_entropy
from jnn.rules import sigmoid_cross_entropy as sigmoid_cross_entropy
from jnn.rules import softmax_cross_entropy as softmax_cross_entropy
from jnn.rules import squared_error as squared_error
from jnn.rules.core.mode import autodiff as autodiff
from jnn.rules.core.mode import derivatives as derivatives
from jnn.rules.core.rule import rule as rule
from jnn.solve import bfgs as bfgs
from jnn.solve import bicgstab as bicgstab
from jnn.solve import cg as cg
from jnn.solve import conjugate_directions as conjugate_directions
from jnn.solve import gauss_newton as gauss_newton
from jnn.solve import lbfgs as lbfgs
from jnn.solve import least_squares as least_squares
from jnn.solve import levenberg_marquardt as levenberg_marquardt
from jnn.solve import minimize as minimize
from jnn.solve import newton_cg as newton_cg
from jnn.solve import nonlinear_cg as nonlinear_cg
from jnn.solve import powell as powell
from jnn.solve import steepest_descent as steepest_descent
from jnn.train import fit as fit
from jnn.train import fit_many as fit_many
from jnn.train import load as load
from jnn.train import save as save
from jnn.tuning.choices import Choices as Choices
from jnn.tuning.tune import tune as tune
from jnn.verify.compare.compare import compare as compare
from jnn.verify.compare.residuals import residuals as residuals
from jnn.xla.platform import platform as platform

__version__ = "0.1.0"

if _TYPE_CHECKING:
    from jnn import plots as plots


def __getattr__(name: str) -> _Any:
    """`jnn.plots` when it is first asked for."""
    if name == "plots":
        import jnn.plots

        return jnn.plots
    raise AttributeError(f"module 'jnn' has no attribute {name!r}")
