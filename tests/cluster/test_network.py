"""The choice of a subnet."""

from ipaddress import IPv4Network

import pytest

from . import network

pytestmark = pytest.mark.cluster


def test_a_run_gets_the_same_small_subnet_again() -> None:
    """Two addresses, from the block that is kept for tests."""
    subnet = network.free_subnet("pillion-a", [])
    assert subnet == network.free_subnet("pillion-a", [])
    assert len(list(subnet.hosts())) == 2
    assert subnet.subnet_of(IPv4Network("198.18.0.0/15"))


def test_what_the_host_routes_already_is_left_alone() -> None:
    """Another run's subnet of the same hash, or somebody's own use of the block."""
    first = network.free_subnet("pillion-a", [])
    assert not network.free_subnet("pillion-a", [first]).overlaps(first)
    half = IPv4Network("198.18.0.0/16")
    assert not network.free_subnet("pillion-a", [half]).overlaps(half)


def test_a_block_that_is_taken_whole_is_an_error() -> None:
    """It ends, with words."""
    with pytest.raises(network.NetworkError, match="no free subnet"):
        network.free_subnet("pillion-a", [IPv4Network("198.18.0.0/15")])
