"""Operations with hand-written derivatives; `registry` maps the name of each to its rule."""

import importlib as _importlib
from types import MappingProxyType as _MappingProxyType

from jnn.errors import RuleError as RuleError
from jnn.rules.activation import elu as elu
from jnn.rules.activation import gelu as gelu
from jnn.rules.activation import hard_tanh as hard_tanh
from jnn.rules.activation import identity as identity
from jnn.rules.activation import leaky_relu as leaky_relu
from jnn.rules.activation import relu as relu
from jnn.rules.activation import selu as selu
from jnn.rules.activation import sigmoid as sigmoid
from jnn.rules.activation import silu as silu
from jnn.rules.activation import soft_logistic as soft_logistic
from jnn.rules.activation import softplus as softplus
from jnn.rules.activation import softsign as softsign
from jnn.rules.activation import tanh as tanh
from jnn.rules.affine import affine as affine
from jnn.rules.connections import Connections as Connections
from jnn.rules.convolution import conv as conv
from jnn.rules.convolution_rectified import rectified_conv as rectified_conv
from jnn.rules.convolution_transpose import conv_transpose as conv_transpose
from jnn.rules.cross_entropy import binary_cross_entropy as binary_cross_entropy
from jnn.rules.cross_entropy import cross_entropy as cross_entropy
from jnn.rules.cross_entropy import sigmoid_cross_entropy as sigmoid_cross_entropy
from jnn.rules.elementwise import elementwise as elementwise
from jnn.rules.loss import absolute_error as absolute_error
from jnn.rules.loss import half_squared_error as half_squared_error
from jnn.rules.loss import huber as huber
from jnn.rules.loss import squared_error as squared_error
from jnn.rules.max_pool import max_pool as max_pool
from jnn.rules.mean_pool import mean_pool as mean_pool
from jnn.rules.penalty import l2 as l2
from jnn.rules.radial import radial as radial
from jnn.rules.residual import residual as residual
from jnn.rules.residual import residual_projection as residual_projection
from jnn.rules.rule import Example as Example
from jnn.rules.rule import Rule as Rule
from jnn.rules.softmax import log_softmax as log_softmax
from jnn.rules.softmax import logsumexp as logsumexp
from jnn.rules.softmax import softmax as softmax
from jnn.rules.softmax_cross_entropy import softmax_cross_entropy as softmax_cross_entropy
from jnn.rules.subsampling import subsample as subsample
from jnn.rules.subsampling import weighted_subsample as weighted_subsample
from jnn.rules.toeplitz import convolution_matrix as convolution_matrix
from jnn.rules.toeplitz import toeplitz as toeplitz

# Ways to compute a convolution make themselves known to `jnn.rules.product`.
for _way in ("fourier", "patches", "phases", "shifted", "winograd"):
    _importlib.import_module(f"jnn.rules.convolution_{_way}")

registry = _MappingProxyType({r.name: r for r in tuple(vars().values()) if isinstance(r, Rule)})
