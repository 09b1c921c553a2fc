"""Operations with hand-written derivatives; `registry` maps the name of each to its rule."""

from types import MappingProxyType as _MappingProxyType

from jnn.errors import RuleError as RuleError
from jnn.rules.convolution import ways as ways
from jnn.rules.convolution.connections import Connections as Connections
from jnn.rules.convolution.conv import conv as conv
from jnn.rules.convolution.rectified import rectified_conv as rectified_conv
from jnn.rules.convolution.toeplitz import convolution_matrix as convolution_matrix
from jnn.rules.convolution.toeplitz import toeplitz as toeplitz
from jnn.rules.convolution.transpose import conv_transpose as conv_transpose
from jnn.rules.core.product import by_reference as by_reference
from jnn.rules.core.rule import Example as Example
from jnn.rules.core.rule import Rule as Rule
from jnn.rules.linear.affine import affine as affine
from jnn.rules.linear.penalty import l2 as l2
from jnn.rules.linear.radial import radial as radial
from jnn.rules.linear.residual import residual as residual
from jnn.rules.linear.residual import residual_projection as residual_projection
from jnn.rules.losses.entropy import binary_cross_entropy as binary_cross_entropy
from jnn.rules.losses.entropy import cross_entropy as cross_entropy
from jnn.rules.losses.entropy import sigmoid_cross_entropy as sigmoid_cross_entropy
from jnn.rules.losses.regression import absolute_error as absolute_error
from jnn.rules.losses.regression import half_squared_error as half_squared_error
from jnn.rules.losses.regression import huber as huber
from jnn.rules.losses.regression import squared_error as squared_error
from jnn.rules.losses.softmax import log_softmax as log_softmax
from jnn.rules.losses.softmax import logsumexp as logsumexp
from jnn.rules.losses.softmax import softmax as softmax
from jnn.rules.losses.softmax_entropy import softmax_cross_entropy as softmax_cross_entropy
from jnn.rules.pointwise.activation import elu as elu
from jnn.rules.pointwise.activation import gelu as gelu
from jnn.rules.pointwise.activation import hard_tanh as hard_tanh
from jnn.rules.pointwise.activation import identity as identity
from jnn.rules.pointwise.activation import leaky_relu as leaky_relu
from jnn.rules.pointwise.activation import relu as relu
from jnn.rules.pointwise.activation import selu as selu
from jnn.rules.pointwise.activation import sigmoid as sigmoid
from jnn.rules.pointwise.activation import silu as silu
from jnn.rules.pointwise.activation import soft_logistic as soft_logistic
from jnn.rules.pointwise.activation import softplus as softplus
from jnn.rules.pointwise.activation import softsign as softsign
from jnn.rules.pointwise.activation import tanh as tanh
from jnn.rules.pointwise.elementwise import elementwise as elementwise
from jnn.rules.pooling.max import max_pool as max_pool
from jnn.rules.pooling.mean import mean_pool as mean_pool
from jnn.rules.pooling.subsampling import subsample as subsample
from jnn.rules.pooling.subsampling import weighted_subsample as weighted_subsample

registry = _MappingProxyType({r.name: r for r in tuple(vars().values()) if isinstance(r, Rule)})
