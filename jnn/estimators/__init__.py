"""Models with scikit-learn's face: `fit`, `predict`, `predict_proba`, `score`, `get_params`.

A thin shell: what is computed are the pure functions of `jnn.models`, trained by `jnn.fit`,
`jnn.minimize` and `jnn.least_squares`. scikit-learn itself is not needed; where it is there, its
pipelines, grid searches and checks take these for its own.
"""

from jnn.estimators.cnn import CNNClassifier as CNNClassifier
from jnn.estimators.estimator import Estimator as Estimator
from jnn.estimators.mlp import MLPClassifier as MLPClassifier
from jnn.estimators.mlp import MLPRegressor as MLPRegressor
from jnn.estimators.rbf import RBFClassifier as RBFClassifier
from jnn.estimators.rbf import RBFRegressor as RBFRegressor
from jnn.estimators.reading import NotFittedError as NotFittedError
from jnn.estimators.regressions import LinearRegression as LinearRegression
from jnn.estimators.regressions import LogisticRegression as LogisticRegression
