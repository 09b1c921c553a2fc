"""Pictures of training, of derivatives, of images and of methods: the only import of matplotlib.

Each function returns the figure, saves it where a path is given, and shows nothing. One that takes
`figure` draws into it, or into a part of it.
"""

from jnn.plots.canvas import Canvas as Canvas
from jnn.plots.canvas import figure as figure
from jnn.plots.canvas import styled as styled
from jnn.plots.methods.l_curve import l_curve as l_curve
from jnn.plots.methods.paths import descent_path as descent_path
from jnn.plots.methods.paths import paths as paths
from jnn.plots.methods.profiles import cost_ratios as cost_ratios
from jnn.plots.methods.profiles import performance_profile as performance_profile
from jnn.plots.methods.stability import stability as stability
from jnn.plots.proofs.check import check as check
from jnn.plots.proofs.comparison import comparison as comparison
from jnn.plots.proofs.differences import gradient_test as gradient_test
from jnn.plots.proofs.differences import transpose_test as transpose_test
from jnn.plots.style import BLACK as BLACK
from jnn.plots.style import BLUE as BLUE
from jnn.plots.style import FAINT as FAINT
from jnn.plots.style import GREEN as GREEN
from jnn.plots.style import INK as INK
from jnn.plots.style import ORANGE as ORANGE
from jnn.plots.style import PURPLE as PURPLE
from jnn.plots.style import SIGNED as SIGNED
from jnn.plots.style import SIZES as SIZES
from jnn.plots.style import SKY as SKY
from jnn.plots.style import STYLES as STYLES
from jnn.plots.style import VERMILION as VERMILION
from jnn.plots.training.classes import confusion_matrix as confusion_matrix
from jnn.plots.training.classes import decision_boundary as decision_boundary
from jnn.plots.training.curves import curves as curves
from jnn.plots.training.deltas import deltas as deltas
from jnn.plots.training.history import history as history
from jnn.plots.training.images import feature_maps as feature_maps
from jnn.plots.training.images import filters as filters
from jnn.plots.training.images import images as images
from jnn.plots.training.images import saliency as saliency
