from barevision.darknet.config import parse_config
from barevision.darknet.graph import build_model
from barevision.darknet.weights import Weights
from benchmarks.networks import write_random_weights
from tests.support.darknet_files import TINY_CFG


def test_random_weights_are_as_long_as_the_network_wants_and_the_same_each_time(tmp_path):
    paths = [tmp_path / "a.weights", tmp_path / "b.weights"]
    for path in paths:
        write_random_weights(TINY_CFG, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    # It raises an error if a float is missing or left over.
    build_model(parse_config(TINY_CFG, "tiny.cfg"), Weights(paths[0]))
