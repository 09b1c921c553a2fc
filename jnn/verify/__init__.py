"""Proof and comparison of derivatives, for rules of this library and for anybody's functions."""

from jnn.verify.check import SUITES as SUITES
from jnn.verify.check import CheckReport as CheckReport
from jnn.verify.check import check as check
from jnn.verify.compare.compare import Comparison as Comparison
from jnn.verify.compare.compare import compare as compare
from jnn.verify.compare.residuals import Ledger as Ledger
from jnn.verify.compare.residuals import residuals as residuals
from jnn.verify.compare.weigh import Weighed as Weighed
from jnn.verify.differences.tests import gradient_test as gradient_test
from jnn.verify.differences.tests import jacobian_test as jacobian_test
from jnn.verify.differences.tests import transpose_test as transpose_test
from jnn.verify.suites.promise import promise as promise
