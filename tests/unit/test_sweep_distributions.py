"""Distributions. The literals hold on every machine; that they are right, other implementations say."""

from __future__ import annotations

from math import exp, inf

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from hpcjobs.errors import UsageError
from hpcjobs.sweep.distributions import KINDS, parse_distribution
from hpcjobs.sweep.values import Value

US = (0.0, 1e-9, 0.01, 0.3, 0.5, 0.7, 0.99, 1.0)


@pytest.mark.parametrize(
    ("written", "values"),
    [
        ("uniform(-1,4)", [-0.9999999999999994, -0.999999995, -0.95, 0.5, 1.5, 2.5, 3.95, 3.999999999999999]),
        ("loguniform(0.1,1000)", [0.10000000000000012, 0.10000000092103407, 0.10964781961431853, 1.5848931924611134, 9.999999999999998, 63.09573444801925, 912.0108393559099, 999.999999999998]),
        ("normal(2,3)", [-22.62860845480416, -15.993421045023059, -4.979043622122522, 0.426798461875878, 2.0, 3.5732015381241222, 8.979043622122521, 26.62860845480416]),
        ("normal(0,1,-1,2)", [-0.9999999999999998, -0.9999999966169685, -0.9667232518503339, -0.2424038178892268, 0.17116391801782482, 0.6178760730114089, 1.8672107987812516, 1.999999999999998]),
        ("normal(3,2,4,inf)", [4.0, 4.0000000017527295, 4.017566028498884, 4.571709611530051, 5.036591031920558, 5.650293256976417, 8.477134828854119, 19.699149780909554]),
        ("normal(0,1,8,9)", [8.0, 8.00000000012311, 8.00123719905959, 8.043792130390239, 8.084888899018166, 8.146885924759781, 8.546703681127418, 8.999999999999934]),
        ("normal(0,1,-inf,-30)", [-31.199284803171686, -30.68226937101123, -30.152946658582145, -30.04006129367795, -30.02307046782731, -30.011873653870598, -30.00033463833214, -30.0]),
        ("lognormal(1,0.5)", [0.04483491565546556, 0.13548375874541155, 0.8494434259057598, 2.0913289886882174, 2.718281828459045, 3.533186858164015, 8.69870302551546, 164.80584363561513]),
        ("integers(-2,9)", [-2, -2, -2, 1, 3, 5, 8, 8]),
        ("choice(a,'b c',3,true)", ["a", "a", "a", "b c", 3, 3, True, True]),
        ("exponential(3)", [3.3306690738754696e-16, 2.999999916654206e-09, 0.030151007560504352, 1.0700248318161973, 2.0794415416798357, 3.6119184129778077, 13.815510557964274, 110.2104017090313]),
        ("triangular(1,2,5)", [1.0000000210734243, 1.0000632455532035, 1.2, 2.1017246507621126, 2.550510257216822, 3.102633403898972, 4.653589838486225, 4.999999963499758]),
    ],
)  # fmt: skip
def test_quantiles_are_these(written: str, values: list[Value]) -> None:
    distribution = parse_distribution(written)
    found = [distribution.quantile(u) for u in US]
    assert [(value, type(value)) for value in found] == [(value, type(value)) for value in values]


@pytest.mark.parametrize(
    ("written", "frozen"),
    [
        ("uniform(-1,4)", stats.uniform(-1, 5)),
        ("loguniform(0.1,1000)", stats.loguniform(0.1, 1000)),
        ("normal(2,3)", stats.norm(2, 3)),
        ("normal(0,1,-1,2)", stats.truncnorm(-1, 2)),
        ("normal(3,2,4,inf)", stats.truncnorm(0.5, inf, 3, 2)),
        ("normal(0,1,8,9)", stats.truncnorm(8, 9)),
        ("normal(0,1,-36,-35)", stats.truncnorm(-36, -35)),
        ("lognormal(1,0.5)", stats.lognorm(0.5, scale=exp(1))),
        ("exponential(3)", stats.expon(scale=3)),
        ("triangular(1,2,5)", stats.triang(0.25, 1, 4)),
        ("triangular(0,0,1)", stats.triang(0, 0, 1)),
        ("triangular(0,1,1)", stats.triang(1, 0, 1)),
    ],
)  # fmt: skip
def test_quantiles_are_those_of_scipy(written: str, frozen: stats.rv_continuous) -> None:
    distribution = parse_distribution(written)
    for k in range(1, 1024):
        assert distribution.quantile(k / 1024) == pytest.approx(frozen.ppf(k / 1024), rel=1e-12)


def test_the_tails_of_the_normal_distribution() -> None:
    distribution = parse_distribution("normal(0,1)")
    for power in range(11, 50):
        assert distribution.quantile(2.0**-power) == pytest.approx(stats.norm.ppf(2.0**-power), rel=1e-14)
        assert distribution.quantile(1 - 2.0**-power) == -float(distribution.quantile(2.0**-power))


@given(st.sampled_from(["uniform(2,3)", "loguniform(2,3)", "normal(2,1,2,3)", "normal(-60,2,2,3)", "triangular(2,2.5,3)"]),
       st.floats(0, 1), st.floats(0, 1))  # fmt: skip
def test_quantiles_rise_and_stay_between_the_ends(written: str, u: float, v: float) -> None:
    low, high = (parse_distribution(written).quantile(each) for each in sorted((u, v)))
    assert isinstance(low, float)
    assert isinstance(high, float)
    assert 2 <= low <= high <= 3


def test_every_integer_and_every_choice_is_as_likely() -> None:
    us = [k / 700 for k in range(700)]
    integers, choices = parse_distribution("integers(-3,4)"), parse_distribution("choice(a,b,c,d,e,f,7)")
    assert [[integers.quantile(u) for u in us].count(n) for n in range(-3, 4)] == [100] * 7
    assert [[choices.quantile(u) for u in us].count(n) for n in (*"abcdef", 7)] == [100] * 7
    assert parse_distribution(f"integers(0,{1 << 53})").quantile(1) == (1 << 53) - 1


@pytest.mark.parametrize(
    ("written", "again"),
    [
        (" uniform( 0 , 1 ) ", "uniform(0.0,1.0)"),
        ("normal(0,1,-inf,3)", "normal(0.0,1.0,-inf,3.0)"),
        ("integers(0,5)", "integers(0,5)"),
        ("choice(1,2.0,x,'y, z',\"it's\",true,'1')", "choice(1,2.0,'x','y, z',\"it's\",true,'1')"),
    ],
)
def test_written_as_it_is_read(written: str, again: str) -> None:
    distribution = parse_distribution(written)
    assert str(distribution) == again
    assert parse_distribution(again) == distribution


@pytest.mark.parametrize(
    ("written", "message", "hint"),
    [
        ("", "'' is not a distribution", "write uniform(0,1)"),
        ("0,1", "'0,1' is not a distribution", "write uniform(0,1)"),
        ("uniform(0", "'uniform(0' is not a distribution", "between YAML's { }, in quotes"),
        ("unifrom(0,1)", "there is no distribution 'unifrom'", "did you mean uniform?"),
        ("uniform(0)", "uniform(a,b) with 1 numbers", "write uniform(a,b): from a to b"),
        ("uniform(0,x)", "uniform(a,b): 'x' is not a number that can be used", "from a to b"),
        ("uniform(0,true)", "uniform(a,b): 'true' is not a number that can be used", "from a to b"),
        (f"uniform(0,1{'0' * 301})", f"uniform(a,b): '1{'0' * 39}' is not a number that can be used", "from a to b"),
        ("uniform(1,1)", "uniform(1,1) makes no sense", "from a to b"),
        ("uniform(0,inf)", "uniform(0,inf) makes no sense", "from a to b"),
        ("uniform(-1e308,1e308)", "uniform(-1e308,1e308) makes no sense", "from a to b"),
        ("loguniform(0,1)", "loguniform(0,1) makes no sense", "both above 0"),
        ("normal(0,0)", "normal(0,0) makes no sense", "a standard deviation above 0"),
        ("normal(inf,1)", "normal(inf,1) makes no sense", "a standard deviation above 0"),
        ("normal(0,1,2,2)", "normal(0,1,2,2) makes no sense", "cut off at low and high"),
        ("normal(0,1,40,50)", "normal(0,1,40,50) makes no sense", "cut off at low and high"),
        ("normal(0,1,-50,-40)", "normal(0,1,-50,-40) makes no sense", "cut off at low and high"),
        ("normal(0,1,2)", "with 3 numbers", "normal(mean,deviation,low,high)"),
        ("lognormal(700,1)", "lognormal(700,1) makes no sense", "below 1e300"),
        ("lognormal(0,0)", "lognormal(0,0) makes no sense", "is normal"),
        ("integers(0,0)", "integers(0,0) makes no sense", "from a to b-1"),
        ("integers(0,1.5)", "integers(0,1.5) makes no sense", "whole numbers"),
        ("integers(0.0,1)", "integers(0.0,1) makes no sense", "whole numbers"),
        (f"integers(0,{2**53 + 1})", f"integers(0,{2**53 + 1}) makes no sense", "whole numbers"),
        ("choice()", "an empty value", "''"),
        ("exponential(0)", "exponential(0) makes no sense", "a mean above 0"),
        ("triangular(0,2,1)", "triangular(0,2,1) makes no sense", "most likely near the mode"),
        ("triangular(1,1,1)", "triangular(1,1,1) makes no sense", "most likely near the mode"),
    ],
)
def test_refuses(written: str, message: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_distribution(written)
    assert caught.value.message.endswith(message)
    assert hint in caught.value.hint


def test_kinds_are_written_with_their_name() -> None:
    assert [name for name, kind in KINDS.items() if not kind.written.startswith(f"{name}(")] == []
