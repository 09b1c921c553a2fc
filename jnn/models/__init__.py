"""Networks made of layers, and ways to take them apart."""

from jnn.models.deltas import deltas as deltas
from jnn.models.images import lenet5 as lenet5
from jnn.models.images import modern_lenet as modern_lenet
from jnn.models.images import resnet as resnet
from jnn.models.images import vgg as vgg
from jnn.models.kmeans import KMeans as KMeans
from jnn.models.kmeans import kmeans as kmeans
from jnn.models.kmeans import plus_plus as plus_plus
from jnn.models.mlp import mlp as mlp
from jnn.models.mlp import part as part
from jnn.models.rbf_network import centred as centred
from jnn.models.rbf_network import rbf_network as rbf_network
from jnn.models.recursion import Recursion as Recursion
from jnn.models.recursion import gradient_by_jacobians as gradient_by_jacobians
from jnn.models.recursion import gradient_by_recursion as gradient_by_recursion
from jnn.models.recursion import jacobians as jacobians
