"""Unit tests of the steps of `orders.ipynb`: each runs one step, with inputs of its own."""

import pytest

from kale_nb.testing import StepFailed


@pytest.fixture
def orders(kale_functions):
    return kale_functions("orders.ipynb")


def test_refunds_are_dropped(kale_step, orders):
    ada, refund = orders.Order("ada", 10.0), orders.Order("ben", -3.0)
    result = kale_step("orders.ipynb", "clean", inputs={"orders": [ada, refund]})
    assert result["kept"] == [ada]


def test_nothing_left_is_an_error(kale_step):
    with pytest.raises(StepFailed, match="no order is left of 0") as caught:
        kale_step("orders.ipynb", "clean", inputs={"orders": []})
    assert caught.value.error == "ValueError"


@pytest.mark.parametrize(("tax", "total"), [(0.0, 100.0), (0.25, 80.0)])
def test_the_report_is_without_tax(kale_step, orders, tax, total):
    result = kale_step("orders.ipynb", "report", inputs={"kept": [orders.Order("ada", 100.0)]}, params={"tax": tax})
    assert result.stdout.startswith(f"1 orders, {total:.2f} without tax")
    assert result.metrics == {"total": pytest.approx(total)}


def test_two_steps_in_a_row(kale_step):
    read = kale_step("orders.ipynb", "read")
    clean = kale_step("orders.ipynb", "clean", inputs={"orders": read["orders"]})
    assert [order.customer for order in clean["kept"]] == ["ada", "ben", "cem"]


def test_net_is_an_ordinary_function(kale_functions):
    orders = kale_functions("orders.ipynb", params={"tax": 1.0})
    assert orders.net(orders.Order("ada", 10.0)) == 5.0
