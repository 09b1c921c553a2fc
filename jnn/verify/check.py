"""`check`: a rule put through every suite, and the report of it.

A suite is a function of a case, that is a rule at one example, which yields outcomes; it is run on
every example, on one of each kind, on the extremes or on the kinks, as the table below says.
"""

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import jax
import numpy as np

from jnn import errors
from jnn.rules.core.mode import derivatives
from jnn.rules.core.rule import Example, Rule
from jnn.text import table
from jnn.verify.case import Case, NotRun, Outcome, first_line
from jnn.verify.suites import agreement, batches, hygiene, precision, quotients, transforms
from jnn.verify.suites.promise import promise


class Suite(NamedTuple):
    """A suite, and the cases that it is run on.

    "every": every example that is drawn. "maker": one of each maker of examples. "kind": one for
    each kind of arguments (an absent bias makes another kind). "first": the first, "rest": one for
    each other kind. "some": the first on which it can be run. "extreme" and "kink": those.
    """

    run: Callable[[Case], Iterator[Outcome]]
    on: str


def _keeps_promise(case: Case) -> Iterator[Outcome]:
    """The forward saves no more than the docstring's line "Saves: ..." says."""
    with jax.enable_x64(False):
        yield from map(Outcome, promise(case.rule, case.example))


def _accuracy(dtype: str) -> Suite:
    on = "maker" if dtype == "float32" else "first"
    return Suite(functools.partial(precision.rounding, dtype=dtype), on)


NARROW = ("float16", "bfloat16", "float32")

SUITES: Mapping[str, Suite] = MappingProxyType({
    "agreement": Suite(agreement.agreement, "every"),
    "transpose": Suite(agreement.transpose, "every"),
    "differences": Suite(quotients.differences, "every"),
    "kinks": Suite(quotients.kinks, "kink"),
    "extremes": Suite(precision.extremes, "extreme"),
    **{dtype: _accuracy(dtype) for dtype in NARROW},
    "types": Suite(precision.types, "kind"),
    "nan": Suite(precision.nan, "kind"),
    "transforms": Suite(transforms.transforms, "first"),
    "curvature": Suite(transforms.curvature, "rest"),
    "empty_batch": Suite(batches.empty_batch, "some"),
    "devices": Suite(batches.devices, "some"),
    "determinism": Suite(hygiene.determinism, "some"),
    "integers": Suite(hygiene.integers, "kind"),
    "cost": Suite(hygiene.idle_cost, "some"),
    "plain": Suite(hygiene.plain, "maker"),
    "promise": Suite(_keeps_promise, "maker"),
})  # fmt: skip


@dataclasses.dataclass(frozen=True)
class CheckReport:
    """What `check` found.

    Attributes:
      rule: the rule's name.
      findings: a sentence for whatever is wrong: suite, what, where, got, expected, example.
      worst: the largest error of each suite that was run, finite if the numbers were.
      not_run: a sentence for each suite that could not be run, and why.
      modes: the modes in which there is something hand-written.
      dtypes: the dtypes whose suites found nothing.
      seconds: how long each suite took.
    """

    rule: str
    findings: tuple[str, ...]
    worst: Mapping[str, float]
    not_run: tuple[str, ...]
    modes: tuple[str, ...]
    dtypes: tuple[str, ...]
    seconds: Mapping[str, float]

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __bool__(self) -> bool:
        """As `ok`, so that `assert check(rule)` means it."""
        return self.ok

    def __str__(self) -> str:
        verdict = "ok" if self.ok else f"{len(self.findings)} findings"
        rows = [("suite", "worst error", "seconds")]
        for suite, error in self.worst.items():
            rows.append((suite, f"{error:.1e}", f"{self.seconds[suite]:.2f}"))
        lines = [f"{self.rule}: {verdict}", "", table(rows)]
        for title, sentences in (("found", self.findings), ("not run", self.not_run)):
            if sentences:
                lines += ["", f"{title}:", *(f"  {sentence}" for sentence in sentences)]
        return "\n".join(lines)

    def plot(self, path: str | Path | None = None) -> Any:
        """Draws the worst error of each suite; returns the figure, and saves it to `path`."""
        from jnn import plots

        return plots.check(self, path)


def check(
    rule: Rule,
    args: Sequence[Any] | None = None,
    *,
    settings: Mapping[str, Any] | None = None,
    suites: Sequence[str] | None = None,
    seeds: int = 3,
) -> CheckReport:
    """Puts a rule through every suite: numbers, dtypes, extremes, kinks, transformations, conduct.

    The definition is what the other parts are held to, in float64 whatever the global setting.

    Args:
      rule: a rule.
      args: arguments to try it on; by default its own examples, extremes and kinks.
      settings: the settings that go with `args`.
      suites: names out of `jnn.verify.SUITES`; by default all.
      seeds: how many examples are drawn, at least one from each maker.

    >>> report = jnn.verify.check(jnn.rules.tanh, suites=["agreement", "differences"])
    >>> report.ok, report.findings
    (True, ())
    """
    if not isinstance(rule, Rule):
        remedy = "Make one of your function by jnn.rule."
        errors.fail("check", "rule", "a rule", errors.describe(rule), remedy, TypeError)
    if settings is not None and args is None:
        errors.fail("check", "settings", "given together with `args`", "settings alone")
    names = tuple(SUITES) if suites is None else tuple(suites)
    for name in names:
        errors.choice("check", "suites", name, SUITES)
    errors.positive_integer("check", "seeds", seeds)
    if args is None and not rule.examples:
        remedy = f"Give it one by @{rule.name}.example, or pass args=(...)."
        errors.fail(
            "check", "rule", "a rule with examples", f"'{rule.name}', which has none", remedy
        )

    missing = [part for part in ("forward", "backward") if getattr(rule.parts, part) is None]
    found = [f"there is no {part}: write one under @{rule.name}.{part}" for part in missing]
    worst: dict[str, float] = {}
    seconds: dict[str, float] = {}
    not_run: list[str] = []
    given = None if args is None else Example(*args, **(settings or {}))
    key = rule.parts, rule.examples, rule.extremes, rule.kinks
    with jax.enable_x64(True), jax.default_matmul_precision("highest"), derivatives("backward"):
        for name in () if missing else names:
            start = time.perf_counter()
            try:
                outcomes = _run(SUITES[name], _cases(rule, key, given, seeds))
            except NotRun as reason:
                not_run.append(f"{name}: {reason}")
                continue
            found += [f"{name}: {o.sentence}" for o in outcomes if not o.error <= o.allowed]
            worst[name] = max((o.error for o in outcomes), default=0.0)
            seconds[name] = time.perf_counter() - start
    wrong = {sentence.split(":")[0] for sentence in found}
    return CheckReport(
        rule=rule.name,
        findings=tuple(found),
        worst=MappingProxyType(worst),
        not_run=tuple(not_run),
        modes=("backward", "forward") if rule.parts.tangent else ("backward",),
        dtypes=tuple(
            dtype
            for dtype, suite in (*((d, d) for d in NARROW), ("float64", "agreement"))
            if suite in worst and suite not in wrong
        ),
        seconds=MappingProxyType(seconds),
    )


def _run(suite: Suite, cases: Mapping[str, Sequence[Case]]) -> list[Outcome]:
    """The outcomes on each case; an exception is one too."""
    outcomes, reason = [], NotRun("there is no such example")
    some = False
    for case in cases[suite.on]:
        try:
            outcomes += [o._replace(sentence=f"{o.sentence}, at {case}") for o in suite.run(case)]
            some = True
        except NotRun as error:
            reason = error
            continue
        except Exception as error:  # A rule that raises is a finding.
            outcomes.append(Outcome(f"{first_line(error)}, at {case}"))
            some = True
        if suite.on == "some":
            break
    if not some:
        raise reason
    return outcomes


@functools.lru_cache(maxsize=4)
def _cases(rule: Rule, key: Any, given: Example | None, seeds: int) -> Mapping[str, Sequence[Case]]:
    """A rule's cases by what suites are run on; kept, with what they have computed.

    `key` is what else they depend on, since parts and examples may be added to a rule.
    """
    if given is not None:
        case = Case(rule, given)
        _ = case.outputs  # Wrong arguments raise here, in the rule's own words.
        return _roles([case], 1) | {"extreme": (), "kink": ()}
    makers = rule.examples
    count = max(seeds, len(makers))
    drawn = [_draw(rule, makers[seed % len(makers)], seed) for seed in range(count)]
    return _roles(drawn, len(makers)) | {
        "extreme": [_draw(rule, maker, 0) for maker in rule.extremes],
        "kink": [_draw(rule, maker, 0) for maker in rule.kinks],
    }


def _draw(rule: Rule, maker: Callable[[np.random.Generator], Example], seed: int) -> Case:
    return Case(rule, maker(np.random.default_rng(seed)), seed)


def _roles(drawn: Sequence[Case], makers: int) -> dict[str, Sequence[Case]]:
    kinds: dict[Any, Case] = {}
    for case in drawn[:makers]:
        kinds.setdefault((case.structure, case.is_floating), case)
    return {
        "every": drawn, "some": drawn, "maker": drawn[:makers], "kind": list(kinds.values()),
        "first": drawn[:1], "rest": list(kinds.values())[1:],
    }  # fmt: skip
