"""Line searches: functions of one number, `phi(alpha)`, which know nothing of what lies behind."""

from jnn.linesearch.armijo import armijo as armijo
from jnn.linesearch.bracket import bracket as bracket
from jnn.linesearch.brent import brent as brent
from jnn.linesearch.brent_derivative import brent_derivative as brent_derivative
from jnn.linesearch.exact import exact as exact
from jnn.linesearch.golden import golden_section as golden_section
from jnn.linesearch.quadratic import quadratic as quadratic
from jnn.linesearch.search import Search as Search
from jnn.linesearch.search import SearchStatus as SearchStatus
from jnn.linesearch.wolfe import wolfe as wolfe
