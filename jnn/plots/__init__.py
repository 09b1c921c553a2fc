"""Pictures of training, of derivatives, of images and of methods: the only import of matplotlib.

Each function returns the figure, saves it where a path is given, and shows nothing. One that takes
`figure` draws into it, or into a part of it.
"""

from jnn.plots.canvas import Canvas as Canvas
from jnn.plots.canvas import figure as figure
from jnn.plots.canvas import styled as styled
from jnn.plots.check import check as check
from jnn.plots.classes import confusion_matrix as confusion_matrix
from jnn.plots.classes import decision_boundary as decision_boundary
from jnn.plots.comparison import comparison as comparison
from jnn.plots.curves import curves as curves
from jnn.plots.deltas import deltas as deltas
from jnn.plots.differences import gradient_test as gradient_test
from jnn.plots.differences import transpose_test as transpose_test
from jnn.plots.history import history as history
from jnn.plots.images import feature_maps as feature_maps
from jnn.plots.images import filters as filters
from jnn.plots.images import images as images
from jnn.plots.images import saliency as saliency
from jnn.plots.l_curve import l_curve as l_curve
from jnn.plots.paths import descent_path as descent_path
from jnn.plots.paths import paths as paths
from jnn.plots.profiles import cost_ratios as cost_ratios
from jnn.plots.profiles import performance_profile as performance_profile
from jnn.plots.stability import stability as stability
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
